"""Enumerations and the logger of the double of ``tensorrt``, with numbers that no version has: code that asks
by number instead of by name gets nothing.
"""

from __future__ import annotations

from enum import Enum


class Severity(Enum):
    INTERNAL_ERROR = 70
    ERROR = 71
    WARNING = 72
    INFO = 73
    VERBOSE = 74


class ILogger:
    Severity = Severity
    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR
    WARNING = Severity.WARNING
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def __init__(self) -> None:
        self.is_ready = True


class DataType(Enum):
    FLOAT = "float32"
    HALF = "float16"
    BF16 = "bfloat16"
    INT64 = "int64"
    INT32 = "int32"
    INT8 = "int8"
    UINT8 = "uint8"
    BOOL = "bool"


class TensorIOMode(Enum):
    NONE = 80
    INPUT = 81
    OUTPUT = 82


class LayerInformationFormat(Enum):
    ONELINE = 110
    JSON = 111


class TensorLocation(Enum):
    DEVICE = 90
    HOST = 91


class ExecutionContextAllocationStrategy(Enum):
    STATIC = 100
    ON_PROFILE_CHANGE = 101
    USER_MANAGED = 102
