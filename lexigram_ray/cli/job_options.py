"""Options that several commands share, and what those of recorded jobs mean together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexigram_ray.cli.invocation import env
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.jobs.submitting import SubmitOptions

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        envvar=env("address"),
        help="A running Ray cluster (or `auto`); else this machine.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", envvar=env("model"), help="Embedding model, or its folder."
    ),
]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"] | None,
    typer.Option(
        "--precision",
        envvar=env("precision"),
        help="What the model computes in; int8 trades recall for speed, and says how much.",
    ),
]
NoProgressOption = Annotated[
    bool, typer.Option("--no-progress", envvar=env("no-progress"), help="Show no progress.")
]
JsonProgressOption = Annotated[
    bool,
    typer.Option(
        "--json-progress", envvar=env("json-progress"), help="Progress as JSON Lines on stderr."
    ),
]
NoWaitOption = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        envvar=env("no-wait"),
        help="Record the job, print its id and end: `lexigram-ray up` works on it.",
    ),
]
CursorOption = Annotated[
    str | None,
    typer.Option(
        "--cursor",
        metavar="NEXT",
        envvar=env("cursor"),
        help="Go on where a page ended: its `next`.",
    ),
]
TracebackOption = Annotated[
    bool,
    typer.Option("--traceback", envvar=env("traceback"), help="Show the errors' tracebacks."),
]
PriorityOption = Annotated[
    int | None,
    typer.Option(
        "--priority",
        metavar="N",
        envvar=env("priority"),
        help="Of a recorded job; higher is worked on earlier. 0 unless given.",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="TEXT",
        envvar=env("key"),
        help="Of a recorded job; the same key is the same job, even when it has ended.",
    ),
]
DelayOption = Annotated[
    str | None,
    typer.Option(
        "--delay",
        metavar="TIME",
        envvar=env("delay"),
        help="Of a recorded job; it waits for so long, such as 10m, before it begins.",
    ),
]
DeadlineOption = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        metavar="TIME",
        envvar=env("deadline"),
        help="Of a recorded job; it fails if it has not ended by then: 2h, or 2026-05-04T18:00.",
    ),
]


def submit_options(
    *,
    no_wait: bool,
    priority: int | None,
    key: str | None,
    delay: str | None,
    deadline: str | None,
    now: datetime | None = None,
) -> SubmitOptions | None:
    """Return how a job is to be recorded; None where the command does it itself.

    Args:
        now: Aware; else this machine's clock.

    Raises:
        UsageError: An option is not understood, or has no meaning without `--no-wait`.
    """
    given = {"priority": priority, "key": key, "delay": delay, "deadline": deadline}
    if not no_wait:
        for name, value in given.items():
            if value is not None:
                raise UsageError(
                    f"--{name} is for jobs that are recorded for later, and this command does its "
                    "work at once",
                    hint=f"add --no-wait, or leave --{name} out",
                )
        return None
    from lexigram_ray.core.written_times import parse_duration, parse_time
    from lexigram_ray.jobs.submitting import SubmitOptions

    now = now or datetime.now(UTC)
    return SubmitOptions(
        priority=priority or 0,
        unique_key=key,
        run_after=None if delay is None else now + parse_duration("--delay", delay),
        deadline=None if deadline is None else parse_time("--deadline", deadline, now),
    )


def refuse_beside_no_wait(ctx: typer.Context, *, dry_run: bool = False) -> None:
    """Refuse options that mean nothing to a job that is done elsewhere.

    Raises:
        UsageError: One of them was given.
    """
    # An address in the environment is for all commands, and may stay.
    source = ctx.get_parameter_source("address")
    if source is not None and source.name == "COMMANDLINE":
        raise UsageError(
            "--address cannot go with --no-wait: the job is done where `lexigram-ray up` runs",
            hint="leave one of them out; `lexigram-ray up --address` chooses the cluster",
        )
    if dry_run:
        raise UsageError(
            "--dry-run cannot go with --no-wait: the one records nothing, the other a job",
            hint="leave one of them out",
        )
