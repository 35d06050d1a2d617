"""The servo process: setpoints on absolute deadlines."""
