"""The daemon under a service manager: what it tells it, and the unit that starts it."""
