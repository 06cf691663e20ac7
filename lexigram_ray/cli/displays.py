"""Displays of any long run on stderr: milestone lines, JSON Lines, or nothing but messages."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

from lexigram_ray.cli.moment import Moment, in_one_line
from lexigram_ray.cli.output import is_terminal, printable, say, write_json_line, write_line
from lexigram_ray.cli.rate import Rate
from lexigram_ray.cli.stray import SaidLines

STATUS_SECONDS = 1.0
MILESTONES = ((60.0, 5.0), (600.0, 15.0), (float("inf"), 60.0))
"""Until so many seconds have passed, a line every so many."""


class Display(Protocol):
    """Shows a run while it goes on. Its methods may be called from any thread."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def update(self, moment: Moment) -> None:
        """Show a later moment."""
        ...

    def say(self, text: str, *, label: str, style: str = "bold") -> None:
        """Say something beside the progress."""
        ...


def choose_display(*, show: bool, json_lines: bool) -> Display:
    """Return the display that fits the options and where stderr leads."""
    if json_lines:
        return JsonLines()
    if not show:
        return Silent()
    if is_terminal(sys.stderr):
        from lexigram_ray.cli.live_moment import LiveMoment

        return LiveMoment()
    return Milestones()


class Silent:
    """Shows no progress, only messages."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def update(self, moment: Moment) -> None:
        """Show nothing."""

    def say(self, text: str, *, label: str, style: str = "bold") -> None:
        """Print a message on stderr."""
        say(printable(text), label=label, style=style)


class _Ticking(Silent):
    """Prints lines by the clock, so that long work is never silence, nor many a flood."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._latest: Moment | None = None
        self._phase = ""
        self._began = self._last = now()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def update(self, moment: Moment) -> None:
        """Keep the moment, and print it when its phase is new or its time has come."""
        with self._lock:
            self._latest = moment
            if moment.phase != self._phase or self._is_due():
                self._print(moment)

    def _tick(self) -> None:
        while not self._over.wait(STATUS_SECONDS / 2):
            with self._lock:
                if self._latest is not None and self._is_due():
                    self._print(self._latest)

    def _is_due(self) -> bool:
        return self._now() - self._last >= self._interval()

    def _print(self, moment: Moment) -> None:
        self._phase = moment.phase
        self._last = self._now()
        self._write(moment)

    def _interval(self) -> float:
        return STATUS_SECONDS

    def _write(self, moment: Moment) -> None:
        raise NotImplementedError


class Milestones(_Ticking):
    """A line every few seconds, for logs."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(now)
        self._rate = Rate()

    def _interval(self) -> float:
        running = self._now() - self._began
        return next(every for until, every in MILESTONES if running < until)

    def _write(self, moment: Moment) -> None:
        seconds = self._now() - self._began
        self._rate.observe(moment.rated, seconds)
        write_line(sys.stderr, in_one_line(moment, self._rate.per_second, seconds))


class JsonLines(_Ticking):
    """One JSON object a line: `message_type` is `status`, `error`, `message` or `summary`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(now)
        self._entered_with: TextIO | None = None

    def __enter__(self) -> Self:
        self._entered_with = sys.stderr
        sys.stderr = SaidLines(lambda line: self.say(line, label="output"))
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        sys.stderr, self._entered_with = self._stream(), None

    def say(self, text: str, *, label: str, style: str = "bold") -> None:
        """Write a message as an object, so that every line of stderr is JSON."""
        record = {"message_type": "message", "label": label, "message": text}
        write_json_line(record, self._stream())

    def _write(self, moment: Moment) -> None:
        write_json_line(moment.to_record(), self._stream())

    def _stream(self) -> TextIO:
        return self._entered_with or sys.stderr
