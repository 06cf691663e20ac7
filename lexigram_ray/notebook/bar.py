"""Progress of a call: a bar under a notebook's cell, else what the command line shows."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from lexigram_ray.cli.displays import Display, Milestones, Silent, choose_display
from lexigram_ray.cli.moment import Moment, in_one_line
from lexigram_ray.cli.output import is_terminal
from lexigram_ray.cli.rate import Rate
from lexigram_ray.notebook.cards import bar_html, message_html

REDRAW_SECONDS = 0.25

Content = Mapping[str, str]
Publish = Callable[[Content], Callable[[Content], object]]
"""Shows one thing, by MIME type, below the cell, and returns what replaces it by another."""


def display_for(progress: bool | None) -> Display:
    """Return the display of a call: None shows progress where a person looks on."""
    if progress is False:
        return Silent()
    if in_notebook():
        return NotebookBar(_publish_below_the_cell)
    if is_terminal(sys.stderr):
        return choose_display(show=True, json_lines=False)
    return Milestones() if progress else Silent()


def in_notebook() -> bool:
    """Whether this runs in a kernel, whose cells show HTML."""
    # Only what is imported already: a kernel has IPython from its start.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookBar:
    """One line under the cell, redrawn in place; its last state stays in a saved notebook."""

    def __init__(self, publish: Publish, now: Callable[[], float] = time.monotonic) -> None:
        self._publish = publish
        self._now = now
        self._began = now()
        self._drawn = float("-inf")
        self._latest: Moment | None = None
        self._phase = ""
        self._redraw: Callable[[Content], object] | None = None
        self._rate = Rate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._latest is not None:
            self._draw(self._latest, over=True)

    def update(self, moment: Moment) -> None:
        """Redraw it when the phase is new or the last time is long enough ago."""
        self._latest = moment
        self._rate.observe(moment.rated, self._now() - self._began)
        if moment.phase != self._phase or self._now() - self._drawn >= REDRAW_SECONDS:
            self._draw(moment, over=False)

    def say(self, text: str, *, label: str, style: str = "bold") -> None:
        """Show a message as an output of its own; it stays."""
        self._publish({"text/html": message_html(label, text), "text/plain": f"{label}: {text}"})

    def _draw(self, moment: Moment, *, over: bool) -> None:
        seconds = self._now() - self._began
        self._phase, self._drawn = moment.phase, self._now()
        shown = {
            "text/html": bar_html(moment, self._rate.per_second, seconds, over=over),
            "text/plain": in_one_line(moment, self._rate.per_second, seconds),
        }
        if self._redraw is None:
            self._redraw = self._publish(shown)
        else:
            self._redraw(shown)


def _publish_below_the_cell(content: Content) -> Callable[[Content], object]:
    shown = importlib.import_module("IPython.display")
    handle = shown.display(dict(content), raw=True, display_id=True)
    return lambda later: handle.update(dict(later), raw=True)
