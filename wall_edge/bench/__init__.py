"""The servo loop, measured on this machine."""
