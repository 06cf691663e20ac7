"""Which dead letters a command is about: those that are named, or all that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexigram_ray.cli.id_prefixes import find_by_id, whole_id
from lexigram_ray.cli.invocation import Invocation, env
from lexigram_ray.cli.job_ids import find_job, open_store
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.core.written_times import parse_past

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.letter_records import DeadLetter, LetterFilter
    from lexigram_ray.jobs.store import Store

CategoryName = Literal["transient", "throttled", "unknown", "invalid_input", "permanent"]
StatusName = Literal["open", "retrying", "addressed", "archived", "all"]

LetterArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help="A dead letter's id, or its beginning.", show_default=False),
]
LettersArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID", help="Dead letters' ids, or their beginnings.", show_default=False
    ),
]
StatusOption = Annotated[
    StatusName | None,
    typer.Option(
        "--status",
        envvar=env("status"),
        help="Only those in this state; without it, the open ones and those being retried.",
    ),
]
CategoryOption = Annotated[
    CategoryName | None,
    typer.Option("--category", envvar=env("category"), help="Only failures of this category."),
]
CollectionOption = Annotated[
    str | None,
    typer.Option(
        "--collection",
        "-c",
        metavar="NAME",
        envvar=env("collection"),
        help="Only failures in this collection.",
    ),
]
OlderOption = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="AGE",
        envvar=env("older-than"),
        help="Only those that failed last longer ago than this (12h, 7d, 2w), or before a date.",
    ),
]
CodeOption = Annotated[
    str | None,
    typer.Option(
        "--code", metavar="CODE", envvar=env("code"), help="Only this error code, such as corrupt."
    ),
]
JobOption = Annotated[
    str | None,
    typer.Option(
        "--job", metavar="ID", envvar=env("job"), help="Only those that failed last in this job."
    ),
]
CauseOption = Annotated[
    str | None,
    typer.Option(
        "--fingerprint",
        metavar="CAUSE",
        envvar=env("fingerprint"),
        help="Only those of one cause, as `dlq groups` names it.",
    ),
]
AllOption = Annotated[
    bool, typer.Option("--all", envvar=env("all"), help="All of them, or all that match.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", envvar=env("dry-run"), help="Only say what would be done.")
]


_PARAMETERS = {"all": "all_letters"}
"""Names of options that are others in Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The letters that a command was given, in the user's words.

    Attributes:
        ids: Ids, or their beginnings; where there are any, nothing else is given.
        all: Whether it was said that all are meant.
    """

    ids: tuple[str, ...] = ()
    all: bool = False
    status: str | None = None
    category: str | None = None
    collection: str | None = None
    older_than: str | None = None
    code: str | None = None
    job: str | None = None
    fingerprint: str | None = None

    @property
    def filters(self) -> dict[str, str]:
        """The options that were given, by their names without hyphens before them."""
        options = {
            "status": self.status,
            "category": self.category,
            "collection": self.collection,
            "older-than": self.older_than,
            "code": self.code,
            "job": self.job,
            "fingerprint": self.fingerprint,
        }
        return {name: value for name, value in options.items() if value is not None}

    def words(self) -> list[str]:
        """Return the options as a command line has them."""
        return [word for name, value in self.filters.items() for word in (f"--{name}", value)]

    def checked(self, command: str, ctx: typer.Context) -> Asked:
        """Return the letters that are meant, and refuse all where nobody has said so.

        Ids go before what the environment says: a variable that is set for good is no request.

        Args:
            command: What is done to them: `retry`, `archive` or `delete`.
            ctx: Of the command, which knows what was typed.

        Raises:
            UsageError: Nothing was given, or ids beside something else.
        """
        options = [*(["all"] if self.all else []), *self.filters]
        if not self.ids and not options:
            raise UsageError(
                f"it was not said which dead letters to {command}",
                hint=f"`lexigram-ray dlq {command} ID`, options such as --category, or --all",
            )
        if not self.ids:
            return self
        typed = [name for name in options if not _is_of_environment(ctx, name)]
        if typed:
            beside = ", ".join(f"--{name}" for name in typed)
            raise UsageError(
                f"ids and {beside} were given: it is not clear which dead letters are meant",
                hint=f"give ids to {command} these, or options to {command} all that match",
            )
        return Asked(ids=self.ids)

    def to_filter(self, store: Store, now: datetime) -> LetterFilter:
        """Return what the store is asked.

        Raises:
            UsageError: An id names nothing or more than one thing, or an age is none.
        """
        from lexigram_ray.jobs.letter_actions import statuses_named
        from lexigram_ray.jobs.letter_records import LetterFilter

        if self.ids:
            found = find_letters(store, self.ids)
            return LetterFilter(
                ids=tuple(letter.id for letter in found), statuses=statuses_named("all")
            )
        older_than = self.older_than
        return LetterFilter(
            statuses=statuses_named(self.status),
            category=None if self.category is None else FailureCategory(self.category),
            collection=self.collection,
            code=self.code,
            fingerprint=self.fingerprint,
            job_id=None if self.job is None else _job_id(store, self.job),
            older_than=None if older_than is None else parse_past("--older-than", older_than, now),
        )


def open_for(asked: Asked, invocation: Invocation, config: WorkersConfig) -> Store | None:
    """Open the store that letters are looked up in; none is made.

    Returns:
        None where there is no store yet, and so no letter that could be like what is asked.

    Raises:
        UsageError: There is none, although ids are given; or an age is none.
    """
    from lexigram_ray.jobs.store import Store

    if asked.older_than is not None:
        parse_past("--older-than", asked.older_than, datetime.now(UTC))
    if asked.ids:
        return open_store(invocation, config)
    return Store.open_existing(config.paths.store_url)


def find_letters(store: Store, given: Sequence[str]) -> list[DeadLetter]:
    """Return the letters of these ids or their beginnings, each once, in their order.

    Raises:
        UsageError: One is too short, names no letter, or more than one.
    """
    found = [find_letter(store, each) for each in given]
    return list({letter.id: letter for letter in found}.values())


def find_letter(store: Store, given: str) -> DeadLetter:
    """Return the one letter whose id begins so.

    Raises:
        UsageError: It is too short, names no letter, or more than one.
    """
    letters = store.dead_letters
    return find_by_id(
        given,
        noun="dead letter",
        listed_by="dlq list",
        get=letters.get,
        beginning=letters.beginning,
    )


def _is_of_environment(ctx: typer.Context, option: str) -> bool:
    source = ctx.get_parameter_source(_PARAMETERS.get(option, option.replace("-", "_")))
    return source is not None and source.name == "ENVIRONMENT"


def _job_id(store: Store, given: str) -> str:
    """Return a job's id from its beginning; letters outlive jobs, so a whole one need not be there.

    Raises:
        UsageError: It is too short, or names no job or more than one.
    """
    return whole_id(given) or find_job(store, given).id
