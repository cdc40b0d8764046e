"""The clock of a training, which a resume goes on with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds since the first training step, and the part of them that was no training (evaluating, saving).

    spent_s: that went into the training before its first step.
    """

    def __init__(self, spent_s: float = 0.0) -> None:
        self.spent_s = spent_s
        self._before, self._aside = spent_s, 0.0
        self._started: float | None = None
        self._aside_since: float | None = None

    def start(self) -> None:
        """At every training step; the first one starts it."""
        if self._started is None:
            self._started = time.perf_counter()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done in this block is no training."""
        self._aside_since = time.perf_counter()
        try:
            yield
        finally:
            self._aside, self._aside_since = self.aside_s, None

    def go_on(self, elapsed_s: float, aside_s: float) -> None:
        """Go on from what was on it when a checkpoint was written."""
        self._before, self._aside = elapsed_s, aside_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first training step, with those before a resume."""
        return self._before + (0.0 if self._started is None else time.perf_counter() - self._started)

    @property
    def aside_s(self) -> float:
        """The part of `elapsed_s` that went into evaluating and saving."""
        return self._aside + (0.0 if self._aside_since is None else time.perf_counter() - self._aside_since)
