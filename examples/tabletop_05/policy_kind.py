"""What the files of the tabletop's later policy say: the first one's robot, in the layout of WALL-OSS-0.5."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from examples.tabletop import policy_kind

KIND = replace(policy_kind.KIND, family="wall-oss-0.5", state_bins=256)

# What the joints use of their limits, with a margin (rad): bins of 5 to 13 mrad. The limits would make them
# twice as wide.
RANGE = (np.array([-1.7, -0.95, -1.6, 0.9, -0.3, -0.3]), np.array([1.7, 1.3, 1.0, 2.05, 0.3, 0.3]))
