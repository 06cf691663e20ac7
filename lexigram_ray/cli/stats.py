"""`lexigram-ray stats`: what all jobs have done over some time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexigram_ray.cli.exit_codes import EXIT_DONE
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.output import say
from lexigram_ray.core.errors import DiskFullError, StoreUnreachableError

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.metrics_records import Resolution
    from lexigram_ray.jobs.store import Store
    from lexigram_ray.jobs.work_summary import WorkSummary

EVER = timedelta(days=3_650)


def stats(
    ctx: typer.Context,
    *,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="AGE",
            envvar=env("since"),
            help="Look so far back (90m, 24h, 7d, 30d), or to a date.",
        ),
    ] = "24h",
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection",
            "-c",
            metavar="NAME",
            envvar=env("collection"),
            help="Only what was done for this collection.",
        ),
    ] = None,
    resolution: Annotated[
        Literal["auto", "minute", "hour", "day"],
        typer.Option(
            "--resolution", envvar=env("resolution"), help="How finely time is divided, in UTC."
        ),
    ] = "auto",
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Show how much was ingested and embedded, how fast, from the cache or not, and what failed.

    Examples:
      lexigram-ray stats
      lexigram-ray stats --since 7d -c papers
      lexigram-ray stats --since 30d --json | jq '.series[] | {at, documents}'

    A job counts once it has ended; its documents count in the minutes in which they did. Texts of
    `embed` count as documents.
    """
    from lexigram_ray.core.written_times import parse_past
    from lexigram_ray.jobs.metrics_records import Resolution

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    now = datetime.now(UTC)
    begin = parse_past("--since", since, now)
    step = None if resolution == "auto" else Resolution(resolution)
    settings = invocation.load_config()
    found, is_any = _read(settings, begin, now, step, collection)
    if step is not None:
        _note_what_is_not_kept(settings, found, step)
    if invocation.json:
        invocation.answer(found.to_dict())
    elif found.is_empty:
        _say_nothing(invocation, found, is_any=is_any)
    else:
        from lexigram_ray.cli.stats_page import print_page

        print_page(found)
    return EXIT_DONE


def _read(
    settings: WorkersConfig,
    since: datetime,
    now: datetime,
    step: Resolution | None,
    collection: str | None,
) -> tuple[WorkSummary, bool]:
    """Return the summary, and whether anything has ever ended.

    Raises:
        CollectionNotFoundError: The collection neither is there nor was ever worked for.
    """
    from lexigram_ray.jobs.metrics_records import Resolution
    from lexigram_ray.jobs.store import Store
    from lexigram_ray.jobs.work_summary import WorkSummary, read_summary, resolution_for
    from lexigram_ray.vectors.collections import Collections

    ever: WorkSummary | None = None
    store = Store.open_existing(settings.paths.store_url)
    if store is None:
        found = WorkSummary(
            since=since,
            until=now,
            resolution=step or resolution_for(now - since),
            collection=collection,
        )
    else:
        with store:
            _roll_up(store)
            found = read_summary(store.metrics, since, now, resolution=step, collection=collection)
            if found.is_empty:
                ever = read_summary(
                    store.metrics, now - EVER, now, resolution=Resolution.DAY, collection=collection
                )
    is_any = not found.is_empty or (ever is not None and not ever.is_empty)
    if collection is not None and not is_any:
        # Which says what it may have been meant to be.
        Collections(settings.paths.lancedb).open(collection)
    return found, is_any


def _roll_up(store: Store) -> None:
    try:
        store.metrics.roll_up()
    except (StoreUnreachableError, DiskFullError) as error:
        say(f"the newest jobs are not counted yet: {error}", label="note")


def _note_what_is_not_kept(settings: WorkersConfig, found: WorkSummary, step: Resolution) -> None:
    from lexigram_ray.maintenance.metrics_rollup import oldest_kept

    oldest = oldest_kept(settings.maintenance.metrics_rollup, found.until)[step]
    if oldest is not None and found.since < oldest:
        since = oldest.astimezone().isoformat(timespec="minutes")
        say(f"{step.value}s are kept since {since}; older ones may be missing", label="note")


def _say_nothing(invocation: Invocation, found: WorkSummary, *, is_any: bool) -> None:
    where = "" if found.collection is None else f" of collection {found.collection}"
    if is_any:
        since = found.since.astimezone().isoformat(timespec="minutes")
        say(f"no job{where} has ended since {since}", label="note")
        only = [] if found.collection is None else ["--collection", found.collection]
        longer = "30d" if found.until - found.since < timedelta(days=30) else "3650d"
        say(invocation.suggest("stats", "--since", longer, *only), label="try", style="cyan")
        return
    say(f"no job{where} has ended yet", label="note")
    name = found.collection or "NAME"
    again = invocation.suggest("ingest", "PATH", "--collection", name)
    say(again, label="try", style="cyan")
