"""From LeRobot's calibration of an arm to its ROBOT.yaml."""
