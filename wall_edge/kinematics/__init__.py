"""Where the tips of arms are, and which joint positions bring them there.

URDF in, chains of joints out; forward kinematics for chunks and for one tick, inverse kinematics for chunks,
gravity torques, and rotations in every way in which policies write them. Frames and angles: right-handed,
metres, radians.
"""
