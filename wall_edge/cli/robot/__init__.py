"""Commands about a robot that moves, real or simulated."""
