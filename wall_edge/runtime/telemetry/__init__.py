"""What the daemon's processes tell while they live: rings in shared memory, their readers, the log."""
