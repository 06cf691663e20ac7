"""`lexigram-ray dlq archive` and `delete`: failures that nobody wants to mend."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
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
    StatusName,
    open_for,
)
from lexigram_ray.cli.letter_refusals import IDS_NAMED, Refusals, answer_dry_run
from lexigram_ray.cli.output import count, is_terminal, say, write_line
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.jobs.dead_letters import DeadLetters
    from lexigram_ray.jobs.letter_records import LetterFilter
    from lexigram_ray.jobs.store import Store


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
    return _act(ARCHIVE, asked.checked("archive", ctx), invocation, dry_run=dry_run)


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
    return _act(DELETE, asked.checked("delete", ctx), invocation, dry_run=dry_run, asks=not yes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Action:
    """What is done to dead letters.

    Attributes:
        done: What they are then, such as `archived`.
        obstacles: Why letters stay as they are, by status.
        do: Does it to all that match, and returns how many there were.
    """

    done: str
    obstacles: Mapping[str, str]
    do: Callable[[DeadLetters, LetterFilter], int]


RETRIED = "a job tries it again: cancel that one first, or wait for its end"
CLOSED = "it is closed already"
ARCHIVE = _Action(
    done="archived",
    obstacles={"retrying": RETRIED, "addressed": CLOSED, "archived": CLOSED},
    do=lambda letters, which: letters.archive(which),
)
DELETE = _Action(
    done="deleted",
    obstacles={"retrying": RETRIED},
    do=lambda letters, which: letters.delete(which),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What a command is about to change.

    Attributes:
        which: Only letters that can be changed, and None where there is none; where they are not
            named, none that fails after they were counted: nobody has agreed to lose that one.
        number: Of these letters, when they were counted.
        refusals: The others.
    """

    which: LetterFilter | None = None
    number: int = 0
    refusals: Refusals = field(default_factory=Refusals)


def _act(
    action: _Action, asked: Asked, invocation: Invocation, *, dry_run: bool, asks: bool = False
) -> int:
    with open_for(asked, invocation, invocation.load_config()) or nullcontext() as store:
        chosen = _Chosen() if store is None else _choose(store, asked, action.obstacles)
        if dry_run:
            return answer_dry_run(
                chosen.number,
                chosen.refusals,
                invocation,
                what=action.done,
                are_named=bool(asked.ids),
            )
        done = 0
        if store is not None and chosen.which is not None:
            if asks:
                _confirm(chosen)
            done = action.do(store.dead_letters, chosen.which)
    return _answer(done, chosen, asked, invocation, action.done)


def _choose(store: Store, asked: Asked, obstacles: Mapping[str, str]) -> _Chosen:
    now, letters = datetime.now(UTC), store.dead_letters
    asked_for = asked.to_filter(store, now)
    refusals = Refusals()
    for status in asked_for.statuses:
        refused = replace(asked_for, statuses=(status,))
        if status in obstacles and (number := letters.count(refused)):
            named, _ = letters.page(refused, limit=IDS_NAMED, cursor=None)
            refusals.count(obstacles[status], number, [letter.id for letter in named])
    free = tuple(status for status in asked_for.statuses if status not in obstacles)
    if not free:
        return _Chosen(refusals=refusals)
    which = replace(asked_for, statuses=free)
    if not asked.ids and which.older_than is None:
        which = replace(which, older_than=now)
    number = letters.count(which)
    return _Chosen(which=which if number else None, number=number, refusals=refusals)


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
