"""From a WALL-OSS checkpoint to a bundle."""
