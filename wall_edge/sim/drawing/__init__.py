"""What the simulated worlds draw with: a pinhole camera, a table whose colour drifts, blocks, lines and
discs.

numpy and Pillow only; painter's algorithm, at twice the size, averaged down.
"""
