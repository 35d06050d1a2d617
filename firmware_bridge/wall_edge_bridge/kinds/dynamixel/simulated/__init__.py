"""One motor of the X series, simulated: its control table, and what it does."""
