"""A bundle from the workstation to the robot: copied, checked, built, verified, switched.

On the robot ``wall-edge activate`` (:mod:`~wall_edge.deploy.activation` on a :mod:`~wall_edge.deploy.place`);
on the workstation ``wall-edge deploy`` (:mod:`~wall_edge.deploy.deployment`), which starts the former there
over ssh and speaks with it in lines (:mod:`~wall_edge.deploy.messages`).
"""
