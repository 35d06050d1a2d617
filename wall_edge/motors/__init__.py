"""The motors of a robot one by one: who is there, what they say, a careful move, a calibration."""
