"""`lexigram-ray dlq archive` and `delete`: failures that nobody wants to mend."""

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
    StatusName,
    open_for,
)
from lexigram_ray.cli.letter_refusals import answer_dry_run, exit_code, say_refusals
from lexigram_ray.cli.output import count, is_terminal, say, write_line
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.jobs.letter_actions import Action, Chosen


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
    from lexigram_ray.jobs.letter_actions import ARCHIVE

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
    from lexigram_ray.jobs.letter_actions import DELETE

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


def _act(
    action: Action, asked: Asked, invocation: Invocation, *, dry_run: bool, asks: bool = False
) -> int:
    from lexigram_ray.jobs.letter_actions import Chosen, choose

    now = datetime.now(UTC)
    with open_for(asked, invocation, invocation.load_config()) or nullcontext() as store:
        chosen = Chosen()
        if store is not None:
            chosen = choose(store.dead_letters, asked.to_filter(store, now), action, now)
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
    return _answer(done, chosen, asked, invocation, action)


def _confirm(chosen: Chosen) -> None:
    what = count(chosen.number, "dead letter")
    if not is_terminal(sys.stdin):
        raise UsageError(
            f"{what} would be deleted, and there is no terminal to ask",
            hint="the same command with --yes, or with --dry-run to see what it would do",
        )
    say_refusals(chosen.refusals)
    line = f"{what} and all that is known of their failures; documents and jobs stay"
    say(line, label="delete", style="yellow")
    if not typer.confirm(f"delete {what}?", err=True):
        raise UsageError("nothing was deleted", hint="answer y to delete, or give --yes")


def _answer(done: int, chosen: Chosen, asked: Asked, invocation: Invocation, action: Action) -> int:
    from lexigram_ray.jobs.letter_actions import done_object

    code = exit_code(chosen.refusals, done, are_named=bool(asked.ids))
    if invocation.json:
        invocation.answer(done_object(done, chosen, action))
        return code
    write_line(sys.stdout, f"{action.done} {count(done, 'dead letter')}")
    say_refusals(chosen.refusals)
    return code
