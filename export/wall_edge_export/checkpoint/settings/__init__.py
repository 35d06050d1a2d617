"""What a checkpoint's settings say, in config.json and in upstream's training config.yml."""
