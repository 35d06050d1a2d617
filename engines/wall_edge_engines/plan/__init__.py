"""What a device has to do for one action chunk, and how long that may take: counted, then predicted."""
