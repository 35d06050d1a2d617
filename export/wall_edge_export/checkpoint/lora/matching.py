"""Regular expressions out of files that came from elsewhere, matched within a bounded time and memory.

Python's engine backtracks: thirty characters can keep it busy for years. So it works in a process of its own,
which is ended when its time is up.

That is for an adapter's few names, once. A bundle's tokenizer matches every prompt inside of its library:
there a pattern must be quick by itself (:mod:`wall_edge.bundle.patterns`), as some of adapters' are not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

TIME_LIMIT_S = 3.0
_CHILD = """
import json, re, resource, sys
for kind, most in ((resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_CPU, 10)):
    resource.setrlimit(kind, (most, most))
expressions, names = json.load(sys.stdin)
try:
    rows = [[bool(re.match(one, name)) for name in names] for one in expressions]
except (re.error, RecursionError, OverflowError) as error:
    rows = str(error) or type(error).__name__
json.dump(rows, sys.stdout)
"""


def matches(expressions: Sequence[str], names: Sequence[str]) -> list[list[bool]]:
    """By expression, whether each name matches from its beginning on.

    Raises ValueError for what is no expression, and for those that take too long or too much.
    """
    for one in expressions:
        if len(one) > 4096:
            raise ValueError(f"an expression of {len(one)} characters")
    try:
        result = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=json.dumps([list(expressions), list(names)]),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"takes longer than {TIME_LIMIT_S:g} s to match") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError("cannot be matched within a gigabyte") from error
    rows: list[list[bool]] | str = json.loads(result.stdout)
    if isinstance(rows, str):
        raise ValueError(rows)
    return rows
