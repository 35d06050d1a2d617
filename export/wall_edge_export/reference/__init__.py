"""The reference engine, goldens and random checkpoints."""
