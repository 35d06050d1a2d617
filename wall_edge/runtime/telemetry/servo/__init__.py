"""What the servo process tells: a status each tick, events, and their summary by a reader."""
