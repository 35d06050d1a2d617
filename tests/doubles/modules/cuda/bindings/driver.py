"""What ``from cuda.bindings import driver`` gives where ``tests/doubles/modules`` is on the path."""

from tests.doubles.cuda_driver import *  # noqa: F403
from tests.doubles.cuda_types import *  # noqa: F403
