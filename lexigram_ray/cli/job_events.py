"""`lexigram-ray jobs events`: what happened to a job, and what happens to it now."""

from __future__ import annotations

import json as json_format
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from lexigram_ray.cli.exit_codes import EXIT_DONE, EXIT_INTERRUPTED
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.job_ids import IdArgument, find_job, open_store
from lexigram_ray.cli.output import (
    count,
    duration,
    paint,
    printable,
    restore_terminal,
    say,
    write_json_line,
    write_line,
)

if TYPE_CHECKING:
    from lexigram_ray.jobs.job_events import JobEvent
    from lexigram_ray.jobs.store import Store

TYPE_WIDTH = 12
UNITS_SHOWN = 3
STYLES = {
    "claimed": "cyan",
    "lost": "yellow",
    "unit_crashed": "yellow",
    "quarantined": "red",
    "completed": "green",
    "failed": "red",
    "cancelled": "dim",
}


def job_events(
    ctx: typer.Context,
    job_id: IdArgument,
    *,
    after: Annotated[
        int,
        typer.Option(
            "--after",
            min=-1,
            metavar="N",
            envvar=env("after"),
            help="Only events that come after this number; -1 begins with the submission.",
            show_default=False,
        ),
    ] = -1,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            min=1,
            max=10_000,
            metavar="N",
            envvar=env("limit"),
            help="Most events shown.",
        ),
    ] = 200,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            envvar=env("follow"),
            help="Go on with what happens, without a limit, until the job has ended.",
        ),
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Show what happened to a job, event by event: when, who, and why.

    Examples:
      lexigram-ray jobs events 0193579e-1c2d
      lexigram-ray jobs events 0193579e-1c2d --follow
      lexigram-ray jobs events 0193579e-1c2d --json | jq '.items[] | select(.type == "lost")'

    With --follow --json each event is one object on a line of its own. Ctrl-C only stops looking.
    """
    from lexigram_ray.jobs.following import events_object, events_page

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    with open_store(invocation, invocation.load_config()) as store:
        found = find_job(store, job_id)
        if follow:
            return _follow(store, found.id, after, invocation)
        page, following = events_page(store, found.id, after, limit)
    if invocation.json:
        invocation.answer(events_object(found.id, page, following))
        return EXIT_DONE
    for event in page:
        _print_event(event)
    if not page:
        say("nothing has happened to it since", label="note")
    if following is not None:
        more = ("--after", str(following), "--limit", str(limit))
        say(invocation.suggest("jobs", "events", found.id, *more), label="more with", style="cyan")
    return EXIT_DONE


def words_of(event: JobEvent) -> str:
    """Return what belongs to an event, as a person reads it."""
    data = dict(event.data)
    told: list[str] = []
    match event.type:
        case "submitted":
            into = data.get("collection")
            told.append(f"{data.get('kind')} into collection {into}" if into else "maintenance")
            told.append(f"repeats job {data['retry_of']}" if "retry_of" in data else "")
        case "claimed":
            told.append(f"attempt {data.get('attempt')}")
            told.append(f"by process {data.get('pid')} on {data.get('node')}")
            told.append(str(data.get("actor", "")))
        case "released":
            told.append(str(data.get("outcome", "")))
            told.append(_waits(data))
            told.append(str(data.get("error", "")))
        case "postponed":
            told.append(_waits(data))
        case "lost":
            told.append(f"attempt {data.get('attempt')}")
            told.append(str(data.get("error", "")))
        case "unit_crashed":
            told.append(f"a worker died with {_units(data)}")
        case "quarantined":
            told.append(f"{_units(data)} given up ({data.get('code')})")
        case "completed" | "failed" | "cancelled":
            told.append(str(data.get("code", "")))
            told.append(str(data.get("error", "")))
        case _:
            told.extend(f"{name} {_value(value)}" for name, value in data.items())
    return ": ".join(part for part in told if part)


def _follow(store: Store, job_id: str, after: int, invocation: Invocation) -> int:
    from lexigram_ray.cli.interrupts import Interrupts
    from lexigram_ray.jobs.following import followed

    stop = threading.Event()

    def show(event: JobEvent) -> None:
        if invocation.json:
            write_json_line(event.to_dict(), sys.stdout)
        else:
            _print_event(event)

    def say_detached() -> None:
        say("the job goes on without this command", label="detached")

    with Interrupts(stop=stop, on_first=say_detached, on_exit=restore_terminal):
        followed(store, job_id, after, show, stop)
    invocation.answered = True
    return EXIT_INTERRUPTED if stop.is_set() else EXIT_DONE


def _print_event(event: JobEvent) -> None:
    time = event.at.astimezone().isoformat(sep=" ", timespec="milliseconds")
    name = paint(f"{event.type:<{TYPE_WIDTH}}", STYLES.get(event.type, "bold"), sys.stdout)
    line = f"{event.seq:>4}  {time}  {name}  {printable(words_of(event))}"
    write_line(sys.stdout, line.rstrip())


def _waits(data: Mapping[str, object]) -> str:
    seconds = data.get("wait_seconds")
    return f"not before {duration(seconds)} later" if isinstance(seconds, int | float) else ""


def _units(data: Mapping[str, object]) -> str:
    named = data.get("units")
    ids = [str(each) for each in named] if isinstance(named, Iterable) else []
    number = data.get("count")
    of = number if isinstance(number, int) else len(ids)
    more = ", …" if of > UNITS_SHOWN else ""
    return f"{count(of, 'unit')} ({', '.join(ids[:UNITS_SHOWN])}{more})"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json_format.dumps(value, ensure_ascii=False)
