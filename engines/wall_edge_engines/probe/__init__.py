"""What the device at hand reaches: its memory's and its products' rates, measured through an engine."""
