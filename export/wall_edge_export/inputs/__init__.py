"""What an export works on: the checkpoint's and the robot's settings, checked."""
