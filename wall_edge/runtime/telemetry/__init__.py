"""What the robot tells: events, run log, recorded sessions."""
