"""What ``import tensorrt_rtx`` gives where ``tests/doubles/modules`` is on the path."""

from tests.doubles.tensorrt_builder import *  # noqa: F403
from tests.doubles.tensorrt_runtime import *  # noqa: F403
from tests.doubles.tensorrt_runtime import VERSION as __version__  # noqa: F401
