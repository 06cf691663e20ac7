"""The live view of `status --watch`: one screen of the cluster, the jobs and what they make."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lexigram_ray.cli.job_ids import short_ids
from lexigram_ray.cli.job_words import (
    age,
    pace_in_words,
    progress_in_short,
    seconds_taken,
    style_of,
)
from lexigram_ray.cli.jobs_table import error_in_short
from lexigram_ray.cli.live_moment import Screen
from lexigram_ray.cli.output import byte_size, console, duration, printable
from lexigram_ray.cli.status_watch import jobs_in_words
from lexigram_ray.jobs.counts import Counts

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.runtime.status_looks import SystemLook
    from lexigram_ray.service.service_state import ServiceState

BAR_WIDTH = 24
NAME_WIDTH = 11
SHARES = {"running": 0.35, "pending": 0.15, "ended": 0.25, "collections": 0.25}
"""Of the lines of a screen that remain below its head."""

HEAD_LINES = 17
LEAST_LINES = 3
KEPT = {True: ("runs", "green"), False: ("is missing", "red"), None: ("is turned off", "dim")}


class LiveStatus:
    """Redraws a whole screen, and leaves the last look on the terminal when it ends."""

    def __init__(self) -> None:
        self._console = console(sys.stdout, make=Screen)
        self._latest: Frame | None = None
        # Drawn when there is something new, not by the clock.
        self._live = Live(self, console=self._console, auto_refresh=False, screen=True)
        self._live.start(refresh=True)

    def show(
        self, look: SystemLook, chunks_per_second: float, service: ServiceState | None
    ) -> None:
        """Show a later look."""
        self._latest = Frame(look, chunks_per_second, service)
        self._live.refresh()

    def end(self) -> None:
        """Leave the screen to what was there before."""
        self._live.stop()
        if self._latest is not None:
            self._console.print(self._latest)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw one frame."""
        yield self._latest or Text("looking", style="bold")
        if self._latest is not None:
            yield Text("Ctrl-C ends the view; nothing hangs on it", style="dim")


class Frame:
    """One look, drawn."""

    def __init__(
        self, look: SystemLook, chunks_per_second: float, service: ServiceState | None = None
    ) -> None:
        self._look = look
        self._chunks_per_second = chunks_per_second
        self._service = service

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw what fits."""
        lines = max(0, (options.height or console.height) - HEAD_LINES)
        most = {name: max(LEAST_LINES, int(share * lines)) for name, share in SHARES.items()}
        yield Group(*self._parts(most))

    def _parts(self, most: Mapping[str, int]) -> Iterator[RenderableType]:
        look = self._look
        yield _head([*_cluster(look), *self._figures()])
        yield from _section("RUNNING", _running(look, most["running"]), len(look.running))
        yield from _section("PENDING", _waiting(look, most["pending"]), len(look.pending))
        yield from _section("ENDED", _ended(look, most["ended"]), 0)
        yield from _section("COLLECTIONS", _collections(look, most["collections"]), 0)

    def _figures(self) -> Iterator[tuple[str, Text]]:
        look, service = self._look, self._service
        if service is not None:
            yield "service", Text(f"{service.url} {service.in_words}", style=service.style)
        yield "jobs", Text(jobs_in_words(look.jobs))
        yield "throughput", Text(f"{self._chunks_per_second:,.1f} chunks/s")
        letters = {name: number for name, number in look.letters.items() if number}
        told = ", ".join(f"{number:,} {name}" for name, number in letters.items())
        text = f"{sum(letters.values()):,} open: {told}" if letters else "none is open"
        yield "dead letters", Text(text, style="yellow" if letters else "")
        yield "seen", Text(look.now.astimezone().strftime("%H:%M:%S %Z"), style="dim")


def _head(rows: Sequence[tuple[str, Text]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for name, text in rows:
        table.add_row(name, text)
    return table


def _section(title: str, table: Table, number: int) -> Iterator[RenderableType]:
    if table.row_count:
        yield Text()
        more = number - table.row_count
        yield Text(f"{title} (and {more:,} more)" if more > 0 else title, style="bold")
        yield table


def _cluster(look: SystemLook) -> Iterator[tuple[str, Text]]:
    cluster = look.cluster
    if not look.is_known:
        yield "cluster", Text("looking", style="dim")
        return
    if cluster is None:
        yield (
            "cluster",
            Text("none is up; submitted jobs wait for `lexigram-ray up`", style="yellow"),
        )
        return
    if cluster.get("problem"):
        said = f"{cluster['address'] or 'a head'} does not answer: {printable(cluster['problem'])}"
        yield "cluster", Text(said, style="red")
        return
    nodes: list[Mapping[str, Any]] = list(cluster["nodes"])
    cpus = sum(node["cpus"] for node in nodes)
    gpus = sum(node["gpus"] for node in nodes)
    size = f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}, {cpus:g} CPUs"
    size += f", {gpus:g} GPUs" if gpus else ""
    yield "cluster", Text(f"{cluster['address']}: {size}")
    if cluster["dashboard"]:
        yield "dashboard", Text(cluster["dashboard"])
    yield "actors", _actors(cluster)


def _actors(cluster: Mapping[str, Any]) -> Text:
    """Return who works there, and who of those that `up` keeps does not."""
    words: list[tuple[str, str]] = []
    for name, key in sorted(_kept(cluster).items()):
        word, style = KEPT[cluster[key]]
        words.append((f"{name} {word}", style))
    silent = [actor["name"] for actor in cluster["actors"] if actor["pid"] is None]
    words += [(f"{printable(name)} does not answer", "red") for name in silent]
    return Text(", ").join(Text(word, style=style) for word, style in words)


def _kept(cluster: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that say whether an actor runs, by the actor's name in words."""
    return {
        key.removeprefix("has_").replace("_", " "): key for key in cluster if key.startswith("has_")
    }


def _columns(number: int, *, widths: Mapping[int, int] | None = None) -> Table:
    table = Table.grid(padding=(0, 2))
    for column in range(number):
        table.add_column(
            no_wrap=True, overflow="ellipsis", min_width=(widths or {}).get(column, None)
        )
    return table


def _running(look: SystemLook, most: int) -> Table:
    table = _columns(6)
    shown = look.running[:most]
    ids = short_ids([each.job.id for each in look.running])
    for each, short in zip(shown, ids, strict=False):
        job = each.job
        fraction = Counts.of(job).fraction
        bar = ProgressBar(total=1, completed=fraction or 0.0, width=BAR_WIDTH)
        pace = ", ".join(pace_in_words(each.pace(look.now)))
        took = seconds_taken(job, look.now) or 0.0
        what = Text(f"{job.kind} {printable(job.collection)}")
        table.add_row(
            short, what, bar, progress_in_short(job), Text(pace, style="cyan"), duration(took)
        )
    return table


def _waiting(look: SystemLook, most: int) -> Table:
    table = _columns(3)
    ids = short_ids([job.id for job in look.pending])
    for job, short in zip(look.pending[:most], ids, strict=False):
        what = f"{job.kind} {printable(job.collection)}"
        table.add_row(short, what, Text(_waits(job, look.now), style="dim"))
    return table


def _waits(job: Job, now: datetime) -> str:
    if job.run_after is not None and job.run_after > now:
        return f"due in {duration((job.run_after - now).total_seconds())}"
    return f"waits for {age(job.created_at, now)}"


def _ended(look: SystemLook, most: int) -> Table:
    table = _columns(5)
    ids = short_ids([job.id for job in look.ended])
    for job, short in zip(look.ended[:most], ids, strict=False):
        ago = age(job.finished_at or job.created_at, look.now)
        end = (
            job.status.value
            if not job.error
            else f"{job.status.value}: {error_in_short(job.error)}"
        )
        table.add_row(
            short,
            f"{job.kind} {printable(job.collection)}",
            progress_in_short(job),
            Text(f"{ago} ago", style="dim"),
            Text(printable(end), style=style_of(job)),
        )
    return table


def _collections(look: SystemLook, most: int) -> Table:
    table = _columns(3)
    largest = sorted(look.sizes.rows.items(), key=lambda item: -item[1])
    for name, rows in largest[:most]:
        size = byte_size(look.sizes.bytes.get(name, 0))
        table.add_row(printable(name), f"{rows:,} rows", size)
    return table
