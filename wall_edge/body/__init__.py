"""One robot's body: the map between a policy's values, each in its own unit, and joint positions.

What the URDF's chains are in terms of ROBOT.yaml's joints is in ``model``.
"""
