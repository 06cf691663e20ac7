"""The live display of a terminal: a bar, what is done, how fast, how long still."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lexigram_ray.cli.output import console, duration, printable
from lexigram_ray.cli.progress import PHASES, fraction_done
from lexigram_ray.cli.rate import Rate
from lexigram_ray.jobs.report import Progress

FRAMES_PER_SECOND = 8
BAR_WIDTH = 30


class LiveDisplay:
    """Redraws three lines in place on stderr, and is gone at the end."""

    def __init__(self) -> None:
        self._console = console(sys.stderr)
        self._latest = Progress(phase="starting")
        self._latest_at = self._began = time.monotonic()
        self._rate = Rate()
        self._live = Live(
            self, console=self._console, refresh_per_second=FRAMES_PER_SECOND, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, progress: Progress) -> None:
        """Show a later moment at the next frame."""
        self._latest, self._latest_at = progress, time.monotonic()
        self._rate.observe(progress.chunks_done, self._latest_at - self._began)

    def say(self, text: str, *, label: str, style: str = "bold") -> None:
        """Print a message above the display."""
        line = Text.assemble((f"{label}: ", style), printable(text))
        self._console.print(line, soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw one frame."""
        progress = self._latest
        yield Group(
            self._bar(progress),
            Text(_counts(progress, self._rate.per_second), no_wrap=True, overflow="ellipsis"),
            Text(_tail(progress.current, options.max_width), style="dim", no_wrap=True),
        )

    def _bar(self, progress: Progress) -> Table:
        row = Table.grid(padding=(0, 1))
        phase = Text(PHASES.get(progress.phase, progress.phase), style="bold")
        elapsed = duration(time.monotonic() - self._began)
        if not progress.documents_total:
            row.add_row(phase, Text(elapsed, style="dim"))
            return row
        done = fraction_done(progress)
        bar = ProgressBar(total=1, completed=done, width=BAR_WIDTH)
        row.add_row(phase, bar, f"{done:4.0%}", Text(elapsed), Text(self._eta(progress)))
        return row

    def _eta(self, progress: Progress) -> str:
        if progress.seconds_remaining is None:
            return ""
        since = time.monotonic() - self._latest_at
        return f"ETA {duration(max(0.0, progress.seconds_remaining - since))}"


def _counts(progress: Progress, chunks_per_second: float) -> str:
    if not progress.documents_total:
        return f"{progress.documents_done:,} documents found" if progress.documents_done else ""
    parts = [
        f"{progress.documents_done:,}/{progress.documents_total:,} documents",
        f"{progress.chunks_done:,} chunks",
        f"{chunks_per_second:.0f} chunks/s",
        f"{progress.chunks_cached:,} cached",
        f"{progress.skipped:,} skipped",
        f"{progress.failed:,} failed",
    ]
    return " · ".join(parts)


def _tail(path: str, width: int) -> str:
    shown = printable(path)
    return shown if len(shown) < width else f"…{shown[-(width - 2) :]}"
