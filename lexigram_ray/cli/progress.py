"""Progress on stderr: a live display, milestone lines, JSON Lines, or nothing."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self, TextIO

from lexigram_ray.cli.output import count, duration, is_terminal, printable, say, write_line
from lexigram_ray.cli.rate import Rate
from lexigram_ray.cli.stray import SaidLines
from lexigram_ray.jobs.report import Progress

STATUS_SECONDS = 1.0
MILESTONES = ((60.0, 5.0), (600.0, 15.0), (float("inf"), 60.0))
PHASES = {
    "scanning": "looking for documents",
    "starting": "starting",
    "ingesting": "ingesting",
    "indexing": "indexing",
    "checking": "checking the table against the ledger",
    "waiting": "waiting for another run of the same job",
}


class Display(Protocol):
    """Shows a run while it goes on. Its methods may be called from any thread."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def update(self, progress: Progress) -> None:
        """Show a later moment."""
        ...

    def say(self, text: str, *, label: str, style: str = "bold") -> None:
        """Say something beside the progress."""
        ...


def choose_display(*, show: bool, json_lines: bool) -> Display:
    """Return the display that fits the options and where stderr leads."""
    if json_lines:
        return JsonLinesDisplay()
    if not show:
        return SilentDisplay()
    if is_terminal(sys.stderr):
        from lexigram_ray.cli.live import LiveDisplay

        return LiveDisplay()
    return MilestoneDisplay()


class SilentDisplay:
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

    def update(self, progress: Progress) -> None:
        """Show nothing."""

    def say(self, text: str, *, label: str, style: str = "bold") -> None:
        """Print a message on stderr."""
        say(printable(text), label=label, style=style)


class _Ticking(SilentDisplay):
    """Prints lines by the clock, so that a long document is never silence, nor many a flood."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._latest: Progress | None = None
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

    def update(self, progress: Progress) -> None:
        """Keep the moment, and print it when its phase is new or its time has come."""
        with self._lock:
            self._latest = progress
            if progress.phase != self._phase or self._is_due():
                self._print(progress)

    def _tick(self) -> None:
        while not self._over.wait(STATUS_SECONDS / 2):
            with self._lock:
                if self._latest is not None and self._is_due():
                    self._print(self._latest)

    def _is_due(self) -> bool:
        return self._now() - self._last >= self._interval()

    def _print(self, progress: Progress) -> None:
        self._phase = progress.phase
        self._last = self._now()
        self._write(progress)

    def _interval(self) -> float:
        return STATUS_SECONDS

    def _write(self, progress: Progress) -> None:
        raise NotImplementedError


class MilestoneDisplay(_Ticking):
    """A line every few seconds, for logs."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(now)
        self._rate = Rate()

    def _interval(self) -> float:
        running = self._now() - self._began
        return next(every for until, every in MILESTONES if running < until)

    def _write(self, progress: Progress) -> None:
        seconds = self._now() - self._began
        self._rate.observe(progress.chunks_done, seconds)
        write_line(sys.stderr, milestone(progress, self._rate.per_second, seconds))


class JsonLinesDisplay(_Ticking):
    """One JSON object a line: `message_type` is `status`, `error`, `message` or `summary`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(now)
        self._stream = sys.stderr

    def __enter__(self) -> Self:
        sys.stderr = SaidLines(lambda line: self.say(line, label="output"))
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        sys.stderr = self._stream

    def say(self, text: str, *, label: str, style: str = "bold") -> None:
        """Write a message as an object, so that every line of stderr is JSON."""
        write_json_line({"message_type": "message", "label": label, "message": text}, self._stream)

    def _write(self, progress: Progress) -> None:
        write_json_line(status_line(progress), self._stream)


def write_json_line(record: Mapping[str, object], stream: TextIO) -> None:
    """Write one object of `--json-progress`."""
    write_line(stream, json.dumps(record, ensure_ascii=False))


def fraction_done(progress: Progress) -> float:
    """Return the work done, from 0 to 1, counted in bytes where they are known."""
    done, total = progress.bytes_done, progress.bytes_total
    if not total:
        done, total = progress.documents_done, progress.documents_total
    return min(1.0, done / total) if total else 0.0


def status_line(progress: Progress) -> dict[str, object]:
    """Return a moment as an object; as in restic, `percent_done` is a fraction from 0 to 1."""
    remaining = progress.seconds_remaining
    return {
        "message_type": "status",
        "phase": progress.phase,
        "job_id": progress.job_id,
        "percent_done": round(fraction_done(progress), 4),
        "documents_done": progress.documents_done,
        "documents_total": progress.documents_total,
        "chunks_done": progress.chunks_done,
        "chunks_cached": progress.chunks_cached,
        "seconds_elapsed": round(progress.seconds_elapsed, 1),
        "seconds_remaining": None if remaining is None else round(remaining, 1),
        "skipped_count": progress.skipped,
        "error_count": progress.failed,
        "current": progress.current,
    }


def milestone(progress: Progress, chunks_per_second: float, seconds: float) -> str:
    """Return a moment, `seconds` after the start, as one line of a log."""
    line = f"[{duration(seconds)}] {PHASES.get(progress.phase, progress.phase)}"
    if not progress.documents_total:
        done = progress.documents_done
        return f"{line}: {count(done, 'document')}" if done else line
    if not progress.documents_done and not progress.chunks_done:
        return f"{line}: {count(progress.documents_total, 'document')} to do"
    parts = [
        f"{progress.documents_done:,}/{progress.documents_total:,} documents",
        f"{count(progress.chunks_done, 'chunk')} ({chunks_per_second:.0f}/s)",
        f"{progress.chunks_cached:,} cached",
    ]
    if progress.skipped:
        parts.append(f"{progress.skipped:,} skipped")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.seconds_remaining:
        parts.append(f"about {duration(progress.seconds_remaining)} left")
    return f"{line}: {fraction_done(progress):.0%}, {', '.join(parts)}"
