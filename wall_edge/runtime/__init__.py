"""Real-time side of the daemon: servo loop, chunk mailbox, telemetry."""
