"""A session that times its stages, each until the device is done with it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wall_edge_engines import ModelSession
from wall_edge_engines.base import DeviceTensor

VISION, PREFIX, LOOP, WORDS = "vision", "prefix", "action_loop", "words"


class TimedSession(ModelSession):
    """While ``timing``, adds up what each stage takes in ``spent`` [s], and counts its ``runs``.

    A GPU goes on by itself: a stage then ends when its result has been waited for. That costs a little, and
    keeps stages from overlapping, so a chunk that nobody looks into is timed apart.
    """

    def __init__(self, *arguments: Any, clock: Callable[[], float] = time.perf_counter, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.timing = True
        self.spent: dict[str, float] = defaultdict(float)
        self.runs: Counter[str] = Counter()
        self._clock, self._inside = clock, False

    def restart(self) -> None:
        """Forget what was timed."""
        self.spent.clear()
        self.runs.clear()

    @contextmanager
    def _stage(self, name: str, result: DeviceTensor | None = None) -> Iterator[None]:
        if not self.timing or self._inside:  # a stage that is part of another
            yield
            return
        self._inside, begun = True, self._clock()
        try:
            yield
        finally:
            self._inside = False
        if result is not None:
            result.view((1,)).read()  # waits for what is enqueued
        self.spent[name] += self._clock() - begun

    def encode_images(self, *arguments: Any, **named: Any) -> None:
        with self._stage(VISION, self._images):
            super().encode_images(*arguments, **named)
        self.runs[VISION] += 1

    def prefill(self, *arguments: Any, **named: Any) -> None:
        with self._stage(PREFIX, self._hidden):
            super().prefill(*arguments, **named)
        self.runs[PREFIX] += 1

    def denoise(self, *arguments: Any, **named: Any) -> Any:
        with self._stage(LOOP):
            result = super().denoise(*arguments, **named)
        self.runs[LOOP] += 1
        return result

    def append(self, token: int, position: int) -> None:
        with self._stage(WORDS):
            super().append(token, position)

    def next_token(self) -> tuple[int, bool]:
        with self._stage(WORDS):
            result = super().next_token()
        self.runs[WORDS] += 1
        return result
