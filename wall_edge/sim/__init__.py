"""The simulated tabletop: arm, blocks, cameras, tasks."""
