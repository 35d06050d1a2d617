"""Samples of the robot at work, for calibration."""
