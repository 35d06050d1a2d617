"""What the robot tells while it lives: rings in shared memory, their readers, the log, recorded sessions."""
