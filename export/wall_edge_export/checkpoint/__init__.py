"""What is read of a checkpoint."""
