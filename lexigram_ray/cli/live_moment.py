"""The live display of a terminal: a bar, what is done, how fast, how long still."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lexigram_ray.cli.moment import Moment
from lexigram_ray.cli.output import console, duration, printable
from lexigram_ray.cli.rate import Rate

FRAMES_PER_SECOND = 8
BAR_WIDTH = 30


class LiveMoment:
    """Redraws two or three lines in place on stderr, and is gone at the end."""

    def __init__(self) -> None:
        self._console = console(sys.stderr, make=Screen)
        self._latest: Moment | None = None
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

    def update(self, moment: Moment) -> None:
        """Show a later moment at the next frame."""
        self._latest, self._latest_at = moment, time.monotonic()
        self._rate.observe(moment.rated, self._latest_at - self._began)

    def say(self, text: str, *, label: str, style: str = "bold") -> None:
        """Print a message above the display."""
        line = Text.assemble((f"{label}: ", style), printable(text))
        self._console.print(line, soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw one frame."""
        moment = self._latest
        if moment is None:
            yield Text("starting", style="bold")
            return
        counts = " · ".join(moment.counts(self._rate.per_second))
        yield self._bar(moment)
        yield Text(counts, no_wrap=True, overflow="ellipsis")
        if moment.current:
            yield Text(_tail(moment.current, options.max_width), style="dim", no_wrap=True)

    def _bar(self, moment: Moment) -> Table:
        row = Table.grid(padding=(0, 1))
        title = Text(moment.title, style="bold")
        elapsed = duration(time.monotonic() - self._began)
        if moment.fraction is None:
            row.add_row(title, Text(elapsed, style="dim"))
            return row
        bar = ProgressBar(total=1, completed=moment.fraction, width=BAR_WIDTH)
        row.add_row(title, bar, f"{moment.fraction:4.0%}", Text(elapsed), Text(self._eta(moment)))
        return row

    def _eta(self, moment: Moment) -> str:
        if moment.seconds_remaining is None:
            return ""
        since = time.monotonic() - self._latest_at
        return f"ETA {duration(max(0.0, moment.seconds_remaining - since))}"


class Screen(Console):
    """Asks the terminal that it draws on; rich itself looks at descriptors 0 to 2.

    During a run, 1 and 2 lead elsewhere (`cli.stray`), and 0 may be a file of texts.
    """

    @property
    def size(self) -> ConsoleDimensions:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The terminal's columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self.file.fileno())
        except (OSError, ValueError):
            return super().size
        return ConsoleDimensions(columns, lines) if columns and lines else super().size

    @property
    def encoding(self) -> str:
        """The terminal's, in lower case."""
        return (getattr(self.file, "encoding", None) or "utf-8").lower()


def _tail(name: str, width: int) -> str:
    shown = printable(name)
    return shown if len(shown) < width else f"…{shown[-(width - 2) :]}"
