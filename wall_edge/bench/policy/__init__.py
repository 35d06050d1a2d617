"""How long a bundle's policy takes here, stage by stage, and whether the figures can be compared."""
