"""Train the tabletop's policy in the layout of WALL-OSS-0.5: ``python examples/tabletop_05/train.py --out
DIR``.

Data, losses and optimiser are the first tabletop policy's (``examples/tabletop/train.py``).
"""

from __future__ import annotations

from examples.tabletop.train import train
from examples.tabletop_05.policy_kind import KIND, RANGE

if __name__ == "__main__":
    train(KIND, RANGE, steps=3200)
