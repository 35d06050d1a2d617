"""Commands about the machine: what it is, what it lacks, what it can do."""
