"""The one process that writes the event log: from every ring, in the order of time, whoever dies."""

from wall_edge.runtime.telemetry.writer.process import LogEnd, LogWriter, run_writer
from wall_edge.runtime.telemetry.writer.progress import WriterMemory

__all__ = ["LogEnd", "LogWriter", "WriterMemory", "run_writer"]
