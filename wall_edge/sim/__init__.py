"""The simulated worlds: arms, coloured blocks, cameras, a referee and a scripted demonstrator each.

numpy and Pillow only. Lengths are metres, angles radians, frames RGB; one step is 1/30 s.
"""
