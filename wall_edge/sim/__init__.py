"""The simulated tabletop: an arm, coloured blocks, two cameras, a referee and a scripted demonstrator.

numpy and Pillow only. Lengths are metres, angles radians, frames 84×84 RGB; one step is 1/30 s.
"""
