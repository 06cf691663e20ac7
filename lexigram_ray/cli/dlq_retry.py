"""`lexigram-ray dlq retry`: dead letters become jobs again, now or so many a minute."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.letter_filters import (
    AllOption,
    Asked,
    CategoryOption,
    CauseOption,
    CodeOption,
    CollectionOption,
    DryRunOption,
    JobOption,
    LettersArgument,
    OlderOption,
    open_for,
)
from lexigram_ray.cli.letter_refusals import answer_dry_run, exit_code, say_refusals
from lexigram_ray.cli.output import count, duration, printable, say, write_line

if TYPE_CHECKING:
    from pathlib import Path

    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.letter_actions import PlannedRetry
    from lexigram_ray.jobs.redriving import Redriven
    from lexigram_ray.jobs.store import Store

JOBS_SAID = 10


def retry_letters(
    ctx: typer.Context,
    letter_ids: LettersArgument = None,
    *,
    all_letters: AllOption = False,
    category: CategoryOption = None,
    collection: CollectionOption = None,
    older_than: OlderOption = None,
    code: CodeOption = None,
    job: JobOption = None,
    fingerprint: CauseOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            metavar="N",
            envvar=env("retry-limit"),
            help="So many at most, those that failed longest ago: try three, then all.",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            metavar="N",
            envvar=env("rate"),
            help="So many a minute, done by `lexigram-ray up`; without it, all at once.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Do what failed again, as new jobs, which `lexigram-ray up` works on.

    Examples:
      lexigram-ray dlq retry 0193579e-1c2d
      lexigram-ray dlq retry --category transient --dry-run
      lexigram-ray dlq retry -c papers --limit 3
      lexigram-ray dlq retry --all --rate 60

    Letters of one job become one job. Each closes when what failed succeeds, and opens again when
    it does not. Exit code 1: none of the ids that were given can be retried; 3: some cannot.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    asked = Asked(
        ids=tuple(letter_ids or ()),
        all=all_letters,
        category=category,
        collection=collection,
        older_than=older_than,
        code=code,
        job=job,
        fingerprint=fingerprint,
    )
    asked = asked.checked("retry", ctx)
    settings = invocation.load_config()
    staged = settings.paths.staged
    with open_for(asked, invocation, settings) or nullcontext() as store:
        if dry_run:
            return _answer_dry_run(_plan(store, asked, staged, limit), asked, invocation)
        done = _redrive(store, asked, staged, rate, limit)
    return _answer(done, asked, invocation, settings, rate)


def _redrive(
    store: Store | None, asked: Asked, staged: Path, rate: float | None, limit: int | None
) -> Redriven:
    from lexigram_ray.jobs.redriving import Redriven, redrive

    if store is None:
        return Redriven()
    which = asked.to_filter(store, datetime.now(UTC))
    return redrive(store, which, staged=staged, per_minute=rate, limit=limit)


def _answer(
    done: Redriven,
    asked: Asked,
    invocation: Invocation,
    config: WorkersConfig,
    rate: float | None,
) -> int:
    from lexigram_ray.jobs.letter_actions import redriven_object
    from lexigram_ray.jobs.letter_refusals import Refusals

    refusals = Refusals()
    refusals.add(done.refused)
    code = exit_code(refusals, done.retried + done.scheduled, are_named=bool(asked.ids))
    if invocation.json:
        invocation.answer(redriven_object(done))
        return code
    for job in done.jobs:
        write_line(sys.stdout, job.id)
    if done.scheduled and rate is not None:
        takes = duration(60 * (done.scheduled - 1) / rate)
        letters = count(done.scheduled, "dead letter")
        say(f"{letters}, {rate:g} a minute: the last in {takes}", label="planned", style="green")
    _say_jobs(done)
    say_refusals(refusals)
    if not (done.retried or done.scheduled):
        say("nothing was retried", label="note")
    else:
        _say_next(done, invocation, config)
    return code


def _say_jobs(done: Redriven) -> None:
    for job in done.jobs[:JOBS_SAID]:
        where = f"{job.kind} into collection {printable(job.collection)}"
        say(f"{where}, once more as job {job.id}", label="submitted", style="green")
    if done.retried:
        by = count(len(done.jobs), "job")
        say(f"{count(done.retried, 'dead letter')} will be tried again by {by}", label="note")


def _say_next(done: Redriven, invocation: Invocation, config: WorkersConfig) -> None:
    from lexigram_ray.cli.job_next import say_what_is_missing

    work = "retries at their times" if done.scheduled else "recorded jobs"
    say_what_is_missing(work, config, invocation)
    if done.jobs:
        ids = [job.id for job in done.jobs[:JOBS_SAID]]
        say(invocation.suggest("jobs", "watch", *ids), label="watch with", style="cyan")
    else:
        say(invocation.suggest("dlq", "list"), label="see them with", style="cyan")


def _plan(store: Store | None, asked: Asked, staged: Path, limit: int | None) -> PlannedRetry:
    from lexigram_ray.jobs.letter_actions import PlannedRetry, plan_retry

    if store is None:
        return PlannedRetry()
    which = asked.to_filter(store, datetime.now(UTC))
    return plan_retry(store, which, staged=staged, limit=limit)


def _answer_dry_run(planned: PlannedRetry, asked: Asked, invocation: Invocation) -> int:
    by = f", by {count(planned.jobs, 'job')}" if planned.jobs else ""
    return answer_dry_run(
        planned.eligible,
        planned.refusals,
        invocation,
        what=f"retried{by}",
        are_named=bool(asked.ids),
    )
