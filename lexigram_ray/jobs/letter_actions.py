"""What is done to dead letters by hand: which of those that were asked for it can be done to.

Free of whoever asks: the command line and HTTP answer with the same objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from lexigram_ray.jobs.dead_letters import DeadLetters
from lexigram_ray.jobs.letter_records import LetterFilter, LetterStatus
from lexigram_ray.jobs.letter_refusals import IDS_NAMED, Refusals
from lexigram_ray.jobs.redriving import LETTERS_AT_ONCE, Redriven, plan
from lexigram_ray.jobs.store import Store

_RETRIED = "a job tries it again: cancel that one first, or wait for its end"
_CLOSED = "it is closed already"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What is done to dead letters.

    Attributes:
        done: What they are then, such as `archived`.
        obstacles: Why letters stay as they are, by status.
        do: Does it to all that match, and returns how many there were.
    """

    done: str
    obstacles: Mapping[LetterStatus, str]
    do: Callable[[DeadLetters, LetterFilter], int]


ARCHIVE = Action(
    done="archived",
    obstacles={
        LetterStatus.RETRYING: _RETRIED,
        LetterStatus.ADDRESSED: _CLOSED,
        LetterStatus.ARCHIVED: _CLOSED,
    },
    do=DeadLetters.archive,
)
DELETE = Action(
    done="deleted",
    obstacles={LetterStatus.RETRYING: _RETRIED},
    do=DeadLetters.delete,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is about to be changed.

    Attributes:
        which: Only letters that can be changed, and None where there is none; where they are not
            named, none that fails after they were counted: nobody has agreed to lose that one.
        number: Of these letters, when they were counted.
        refusals: The others.
    """

    which: LetterFilter | None = None
    number: int = 0
    refusals: Refusals = field(default_factory=Refusals)


def choose(letters: DeadLetters, asked_for: LetterFilter, action: Action, now: datetime) -> Chosen:
    """Say to which of the letters that were asked for something can be done; nothing is written."""
    refusals = Refusals()
    for status in asked_for.statuses:
        refused = replace(asked_for, statuses=(status,))
        if status in action.obstacles and (number := letters.count(refused)):
            named, _ = letters.page(refused, limit=IDS_NAMED, cursor=None)
            refusals.count(action.obstacles[status], number, [letter.id for letter in named])
    free = tuple(status for status in asked_for.statuses if status not in action.obstacles)
    if not free:
        return Chosen(refusals=refusals)
    which = replace(asked_for, statuses=free)
    if asked_for.ids is None and which.older_than is None:
        which = replace(which, older_than=now)
    number = letters.count(which)
    return Chosen(which=which if number else None, number=number, refusals=refusals)


def done_object(done: int, chosen: Chosen, action: Action) -> dict[str, object]:
    """Return the object of `dlq archive --json` and `dlq delete --json`."""
    return {action.done: done, "refused": chosen.refusals.to_list()}


@dataclass(slots=True, kw_only=True)
class PlannedRetry:
    """What a retry would do.

    Attributes:
        eligible: Letters that would be retried.
        jobs: That would be made for them.
    """

    eligible: int = 0
    jobs: int = 0
    refusals: Refusals = field(default_factory=Refusals)


def plan_retry(
    store: Store, which: LetterFilter, *, staged: Path, limit: int | None
) -> PlannedRetry:
    """Say what `redriving.redrive` would do now; nothing is written.

    Args:
        store: Where the letters are.
        which: The letters.
        staged: The folder of staged tables.
        limit: So many letters at most, those that failed longest ago.
    """
    planned = PlannedRetry()
    letters = store.dead_letters.each(which)
    while (left := LETTERS_AT_ONCE if limit is None else limit - planned.eligible) > 0:
        page = list(islice(letters, min(left, LETTERS_AT_ONCE)))
        if not page:
            break
        redrive = plan(store, page, staged=staged)
        planned.eligible += len(redrive.letter_ids)
        planned.jobs += len(redrive.retries)
        planned.refusals.add(redrive.refused)
    return planned


def dry_run_object(eligible: int, refusals: Refusals) -> dict[str, object]:
    """Return the object of `--dry-run --json`."""
    return {"dry_run": True, "eligible": eligible, "refused": refusals.to_list()}


def redriven_object(done: Redriven) -> dict[str, object]:
    """Return the object of `dlq retry --json`."""
    refusals = Refusals()
    refusals.add(done.refused)
    return {
        "retried": done.retried,
        "scheduled": done.scheduled,
        "jobs": [job.to_dict() for job in done.jobs],
        "refused": refusals.to_list(),
    }


def statuses_named(status: str | None) -> tuple[LetterStatus, ...]:
    """Return the states that one word asks for: without it, those that are not closed."""
    if status is None:
        return LetterStatus.OPEN, LetterStatus.RETRYING
    return tuple(LetterStatus) if status == "all" else (LetterStatus(status),)
