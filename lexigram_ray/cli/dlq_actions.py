"""`lexigram-ray dlq archive` and `delete`: failures that nobody wants to mend."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
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
    JobOption,
    LettersArgument,
    OlderOption,
    StatusName,
    open_for,
)
from lexigram_ray.cli.letter_refusals import IDS_NAMED, Refusals
from lexigram_ray.cli.output import count, is_terminal, say, write_line
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.jobs.letter_records import LetterFilter
    from lexigram_ray.jobs.store import Store

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", envvar=env("dry-run"), help="Only say what would be done.")
]

RETRIED = "a job tries it again: cancel that one first, or wait for its end"
CLOSED = "it is closed already"
NOT_TO_ARCHIVE = {"retrying": RETRIED, "addressed": CLOSED, "archived": CLOSED}
"""Why letters stay as they are, by status."""
NOT_TO_DELETE = {"retrying": RETRIED}


def archive_letters(
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
    dry_run: DryRunOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Set failures aside: nobody retries them, and they are kept for a while.

    Examples:
      lexigram-ray dlq archive 0193579e-1c2d
      lexigram-ray dlq archive --category invalid_input --older-than 7d
      lexigram-ray dlq archive --all --dry-run

    Archived ones are kept for `dead_letters.retention_days`. What is
    tried and fails again is a new one; what is only remembered as failed is none.
    Exit code 1: none of the ids that were given can be archived; 3: some cannot.
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
    asked = asked.checked("archive", ctx)
    with open_for(asked, invocation, invocation.load_config()) or nullcontext() as store:
        chosen = _choose(store, asked, NOT_TO_ARCHIVE)
        if dry_run:
            return _answer_dry_run(chosen, asked, invocation, "archived")
        done = store.dead_letters.archive(chosen.which) if store and chosen.number else 0
    return _answer(done, chosen, asked, invocation, "archived")


def delete_letters(
    ctx: typer.Context,
    letter_ids: LettersArgument = None,
    *,
    all_letters: AllOption = False,
    status: Annotated[
        StatusName | None,
        typer.Option("--status", envvar=env("status"), help="Only those in this state."),
    ] = None,
    category: CategoryOption = None,
    collection: CollectionOption = None,
    older_than: OlderOption = None,
    code: CodeOption = None,
    job: JobOption = None,
    fingerprint: CauseOption = None,
    dry_run: DryRunOption = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", envvar=env("yes"), help="Do not ask.")
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Delete dead letters, with all that is known of their failures. Documents and jobs stay.

    Examples:
      lexigram-ray dlq delete 0193579e-1c2d
      lexigram-ray dlq delete --status archived --older-than 7d
      lexigram-ray dlq delete --all --yes --json

    Without --status, those that are open. What is being retried is never deleted. Exit code 1: none
    of the ids that were given can be deleted; 3: some cannot.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    asked = Asked(
        ids=tuple(letter_ids or ()),
        all=all_letters,
        status=status,
        category=category,
        collection=collection,
        older_than=older_than,
        code=code,
        job=job,
        fingerprint=fingerprint,
    )
    asked = asked.checked("delete", ctx)
    with open_for(asked, invocation, invocation.load_config()) or nullcontext() as store:
        chosen = _choose(store, asked, NOT_TO_DELETE)
        if dry_run:
            return _answer_dry_run(chosen, asked, invocation, "deleted")
        if chosen.number and not yes:
            _confirm(chosen)
        # A filter without states stands for all of them: where nothing is free, nothing is asked.
        done = store.dead_letters.delete(chosen.which) if store and chosen.number else 0
    return _answer(done, chosen, asked, invocation, "deleted")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What a command is about to change.

    Attributes:
        which: Only letters that can be changed; where they are not named, none that fails after
            they were counted: nobody has agreed to lose that one.
        number: Of these letters, when they were counted.
    """

    which: LetterFilter
    number: int
    refusals: Refusals


def _choose(store: Store | None, asked: Asked, obstacles: Mapping[str, str]) -> _Chosen:
    from lexigram_ray.jobs.letter_records import LetterFilter

    if store is None:
        return _Chosen(which=LetterFilter(), number=0, refusals=Refusals())
    now, letters = datetime.now(UTC), store.dead_letters
    asked_for = asked.to_filter(store, now)
    refusals = Refusals()
    for status in asked_for.statuses:
        refused = replace(asked_for, statuses=(status,))
        if status in obstacles and (number := letters.count(refused)):
            named, _ = letters.page(refused, limit=IDS_NAMED, cursor=None)
            refusals.count(obstacles[status], number, [letter.id for letter in named])
    free = tuple(status for status in asked_for.statuses if status not in obstacles)
    which = replace(asked_for, statuses=free)
    if not asked.ids and which.older_than is None:
        which = replace(which, older_than=now)
    return _Chosen(which=which, number=letters.count(which) if free else 0, refusals=refusals)


def _confirm(chosen: _Chosen) -> None:
    what = count(chosen.number, "dead letter")
    if not is_terminal(sys.stdin):
        raise UsageError(
            f"{what} would be deleted, and there is no terminal to ask",
            hint="the same command with --yes, or with --dry-run to see what it would do",
        )
    chosen.refusals.say()
    line = f"{what} and all that is known of their failures; documents and jobs stay"
    say(line, label="delete", style="yellow")
    if not typer.confirm(f"delete {what}?", err=True):
        raise UsageError("nothing was deleted", hint="answer y to delete, or give --yes")


def _answer(done: int, chosen: _Chosen, asked: Asked, invocation: Invocation, verb: str) -> int:
    code = chosen.refusals.exit_code(done, are_named=bool(asked.ids))
    if invocation.json:
        invocation.answer({verb: done, "refused": chosen.refusals.to_list()})
        return code
    write_line(sys.stdout, f"{verb} {count(done, 'dead letter')}")
    chosen.refusals.say()
    return code


def _answer_dry_run(chosen: _Chosen, asked: Asked, invocation: Invocation, verb: str) -> int:
    refusals = chosen.refusals
    code = refusals.exit_code(chosen.number, are_named=bool(asked.ids))
    if invocation.json:
        answer = {"dry_run": True, "eligible": chosen.number, "refused": refusals.to_list()}
        invocation.answer(answer)
        return code
    write_line(sys.stdout, f"{count(chosen.number, 'dead letter')} would be {verb}")
    refusals.say()
    say("nothing was changed: run it without --dry-run", label="dry run")
    return code
