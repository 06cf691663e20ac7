"""`lexigram-ray dlq`: failures that outlived their jobs, to be seen, done again or set aside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from lexigram_ray.cli.dlq_actions import archive_letters, delete_letters
from lexigram_ray.cli.dlq_retry import retry_letters
from lexigram_ray.cli.help_text import help_of, refuse_without_command
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.job_options import CursorOption, TracebackOption
from lexigram_ray.cli.letter_filters import (
    Asked,
    CategoryOption,
    CauseOption,
    CodeOption,
    CollectionOption,
    JobOption,
    LetterArgument,
    OlderOption,
    StatusOption,
    find_letter,
    open_for,
)
from lexigram_ray.cli.output import say

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.letter_records import DeadLetter, LetterGroup

dlq_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)


def dlq(ctx: typer.Context) -> None:
    """See what failed, and do it again, set it aside, or delete it.

    Examples:
      lexigram-ray dlq list -c papers
      lexigram-ray dlq groups
      lexigram-ray dlq show 0193579e-1c2d --traceback
      lexigram-ray dlq retry --category transient --dry-run
      lexigram-ray dlq retry -c papers --limit 3
      lexigram-ray dlq retry --all --rate 60
      lexigram-ray dlq archive --older-than 30d

    A dead letter is one document, row or job that failed. It closes by itself once that succeeds.
    """
    refuse_without_command(ctx)


def list_letters(
    ctx: typer.Context,
    *,
    status: StatusOption = None,
    category: CategoryOption = None,
    collection: CollectionOption = None,
    older_than: OlderOption = None,
    code: CodeOption = None,
    job: JobOption = None,
    fingerprint: CauseOption = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, max=1000, metavar="N", envvar=env("limit"), help="Most letters shown."
        ),
    ] = 20,
    cursor: CursorOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List dead letters, the newest failure first: those that are open or being retried.

    Examples:
      lexigram-ray dlq list
      lexigram-ray dlq list -c papers --category invalid_input
      lexigram-ray dlq list --status all --older-than 7d
      lexigram-ray dlq list --json | jq -r '.items[].source'
    """
    from lexigram_ray.jobs.retry_policy import RetryPolicy

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    asked = Asked(
        status=status,
        category=category,
        collection=collection,
        older_than=older_than,
        code=code,
        job=job,
        fingerprint=fingerprint,
    )
    page, following = _page(invocation, settings, asked, limit, cursor)
    policy = RetryPolicy.of(settings)
    if invocation.json:
        items = [each.to_dict(max_retries=policy.max_retries(each.category)) for each in page]
        invocation.answer({"items": items, "next": following})
        return
    from lexigram_ray.cli.dlq_table import print_letters

    if not page:
        _say_none(asked, invocation, is_part=cursor is not None)
        return
    print_letters(page, policy.max_retries, datetime.now(UTC))
    if following is not None:
        more = ("--limit", str(limit), "--cursor", following)
        line = invocation.suggest("dlq", "list", *asked.words(), *more)
        say(line, label="more with", style="cyan")
        line = invocation.suggest("dlq", "groups", *asked.words())
        say(line, label="by cause with", style="cyan")
    elif len(page) == 1:
        say(invocation.suggest("dlq", "show", page[0].id), label="more with", style="cyan")


def show_letter(
    ctx: typer.Context,
    letter_id: LetterArgument,
    *,
    tracebacks: TracebackOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show one dead letter: what failed, each of its failures, and what to do next.

    Examples:
      lexigram-ray dlq show 0193579e-1c2d
      lexigram-ray dlq show 0193579e-1c2d --traceback
      lexigram-ray dlq show 0193579e-1c2d --json | jq .attempts
    """
    from lexigram_ray.cli.dlq_page import print_page, say_next
    from lexigram_ray.cli.job_ids import open_store
    from lexigram_ray.cli.job_next import is_up
    from lexigram_ray.jobs.retry_policy import RetryPolicy

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    with open_store(invocation, settings) as store:
        letter = find_letter(store, letter_id)
        job = store.get(letter.job_id)
    max_retries = RetryPolicy.of(settings).max_retries(letter.category)
    if invocation.json:
        invocation.answer(letter.to_dict(max_retries=max_retries))
        return
    print_page(letter, job, datetime.now(UTC), max_retries=max_retries, tracebacks=tracebacks)
    say_next(letter, invocation, has_workers=is_up(settings), tracebacks=tracebacks)


def group_letters(
    ctx: typer.Context,
    *,
    status: StatusOption = None,
    category: CategoryOption = None,
    collection: CollectionOption = None,
    older_than: OlderOption = None,
    code: CodeOption = None,
    job: JobOption = None,
    fingerprint: CauseOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what dead letters have in common: a cause, how many it has, and what retries them.

    Examples:
      lexigram-ray dlq groups
      lexigram-ray dlq groups -c papers
      lexigram-ray dlq groups --json | jq -r '.items[] | [.count, .code] | @tsv'
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    asked = Asked(
        status=status,
        category=category,
        collection=collection,
        older_than=older_than,
        code=code,
        job=job,
        fingerprint=fingerprint,
    )
    groups = _groups(invocation, asked)
    if invocation.json:
        invocation.answer({"items": [group.to_dict() for group in groups], "next": None})
        return
    from lexigram_ray.cli.dlq_table import print_groups

    if not groups:
        _say_none(asked, invocation, is_part=False)
        return
    print_groups(groups, asked, invocation, datetime.now(UTC))


def _page(
    invocation: Invocation, config: WorkersConfig, asked: Asked, limit: int, cursor: str | None
) -> tuple[list[DeadLetter], str | None]:
    store = open_for(asked, invocation, config)
    if store is None:
        return [], None
    with store:
        which = asked.to_filter(store, datetime.now(UTC))
        return store.dead_letters.page(which, limit=limit, cursor=cursor)


def _groups(invocation: Invocation, asked: Asked) -> list[LetterGroup]:
    store = open_for(asked, invocation, invocation.load_config())
    if store is None:
        return []
    with store:
        return store.dead_letters.groups(asked.to_filter(store, datetime.now(UTC)))


def _say_none(asked: Asked, invocation: Invocation, *, is_part: bool) -> None:
    if is_part or asked.filters:
        say("no dead letter is like that", label="note")
        if is_part or asked.status != "all":
            say(invocation.suggest("dlq", "list", "--status", "all"), label="try", style="cyan")
    else:
        say("no dead letter is open", label="note")


dlq_app.callback(help=help_of(dlq))(dlq)
dlq_app.command("list", help=help_of(list_letters))(list_letters)
dlq_app.command("show", help=help_of(show_letter))(show_letter)
dlq_app.command("groups", help=help_of(group_letters))(group_letters)
dlq_app.command("retry", help=help_of(retry_letters))(retry_letters)
dlq_app.command("archive", help=help_of(archive_letters))(archive_letters)
dlq_app.command("delete", help=help_of(delete_letters))(delete_letters)
