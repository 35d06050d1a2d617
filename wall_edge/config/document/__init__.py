"""The data of a ROBOT.yaml: of either edition, with the files that it extends, and moved to the second."""
