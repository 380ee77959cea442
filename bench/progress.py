"""The line that shows the progress of a run: rewritten on a terminal; in a log, a new one now and then."""

from __future__ import annotations

import sys
import time

LOG_SECONDS = 10


class Progress:
    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.started = time.monotonic()
        self.shown = 0.0
        self.done = 0.0
        self.total = 0.0

    def expect(self, seconds: float) -> None:
        """Adds planned time."""
        self.total += seconds

    def step(self, text: str, seconds: float) -> None:
        """Begins a step of about that many seconds."""
        now = time.monotonic()
        elapsed = now - self.started
        # steps that were slower than expected will continue to be
        pace = max(1.0, elapsed / self.done) if self.done > 5 else 1.0
        left = max(0.0, self.total - self.done) * pace
        line = f"{clock(elapsed)} of about {clock(elapsed + left)}  {text}"
        self.done += seconds
        if self.terminal:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif now - self.shown >= LOG_SECONDS:
            self.shown = now
            print(line, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Prints a permanent line."""
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
