"""The simulated tabletop: arm, cameras, blocks and their referee."""
