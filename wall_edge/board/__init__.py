"""What the machine is and how it is set, from its files: a Jetson's releases, clocks, power and buses."""
