"""Around the body of a process: how it ends, and how it says why."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.connection import Connection

from wall_edge.errors import WallEdgeError
from wall_edge.runtime.ipc.messages import Failure
from wall_edge.signals import ignored


@contextlib.contextmanager
def reporting(conn: Connection) -> Iterator[None]:
    """Around the body of a process that ends on Stop, or when the supervisor is gone.

    Signals, the emergency stop among them, may reach the whole process group or unit: it is for the
    supervisor and the servo process to say what they mean. A :class:`WallEdgeError` is sent as Failure in one
    line; so is a bug, which also raises.
    """
    ignored()
    try:
        yield
    except (EOFError, ConnectionError):
        pass  # the supervisor is gone; the servo process sees its silence and goes to rest
    except WallEdgeError as error:
        _report(conn, str(error))
    except Exception as bug:
        _report(conn, f"bug: {bug!r}")
        raise


def _report(conn: Connection, reason: str) -> None:
    with contextlib.suppress(OSError):
        conn.send(Failure(reason))
