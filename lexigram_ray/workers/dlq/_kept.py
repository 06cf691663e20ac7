"""What is kept of one failed job of a queue that lives only in this process."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.classifier import UNEXPECTED, ErrorClassifier, Verdict
from lexigram_ray.jobs.foreign_queue import Message
from lexigram_ray.jobs.redaction import redacted
from lexigram_ray.workers.types import DLQItem, DLQStats

if TYPE_CHECKING:
    from lexigram_ray.workers.protocols import JobProtocol

logger = logging.getLogger("lexigram_ray")

__all__ = [
    "Kept",
    "Sending",
    "Shelf",
    "State",
    "new_kept",
    "retries_more",
    "said_by",
    "stats_of",
    "verdict_of",
]


class State(StrEnum):
    """Where an item is.

    `sending` is handed to the queue, which has not acknowledged it; `retrying` was acknowledged,
    and its job has not ended; `given_up` is retried by nobody, unless a person asks for it.
    """

    WAITING = "waiting"
    SENDING = "sending"
    RETRYING = "retrying"
    GIVEN_UP = "given_up"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Sending:
    """A retry that is being handed to the queue.

    Attributes:
        key: Of its item.
        task: The original job.
        turn: Tells it from a later retry of the same item.
    """

    key: str
    task: Message
    turn: int


@dataclass(slots=True)
class Kept:
    """An item, and where it is.

    Attributes:
        item: As users see it.
        task: The original job, with its own arguments.
        said: What the task says; equal for a delivery of it under whatever id.
        before: Its state before it was handed to the queue.
        turn: Of the retry that is being handed over; 0 where none is.
        queue_id: Under which the last retry was taken.
        refusals: In a row.
        told: After how many failures somebody was told that nobody retries it.
        aliases: Under which ids its retries were taken, those that have failed too.
    """

    item: DLQItem
    task: Message
    said: str
    state: State = State.WAITING
    before: State = State.WAITING
    turn: int = 0
    queue_id: str = ""
    refusals: int = 0
    told: int = 0
    aliases: list[str] = field(default_factory=list[str])


class Shelf:
    """All items that are there, by their ids and by those of their retries."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._aliases: dict[str, str] = {}

    @property
    def all(self) -> Collection[Kept]:
        """All of them, in the order in which they failed first."""
        return self._kept.values()

    @property
    def is_any_sent(self) -> bool:
        """Whether one is being handed to the queue."""
        return any(each.state is State.SENDING for each in self._kept.values())

    def get(self, key: str) -> Kept | None:
        """Return an item by its own id."""
        return self._kept.get(key)

    def find(self, job_id: str, task: Message | None) -> Kept | None:
        """Find an item by its own id or its retry's.

        While the queue has not told the retry's id yet, what the retry says has to do.
        """
        known = self._kept.get(job_id) or self._kept.get(self._aliases.get(job_id, ""))
        if known is not None or task is None:
            return known
        sent = [each for each in self._kept.values() if each.state is State.SENDING]
        said = said_by(task) if sent else ""
        return next((each for each in sent if each.said == said), None)

    def still(self, sending: Sending) -> Kept | None:
        """Find the item of a retry, unless it has failed, ended or been put away since."""
        kept = self._kept.get(sending.key)
        return kept if kept is not None and kept.turn == sending.turn else None

    def add(self, kept: Kept) -> Kept:
        """Add an item, and return it."""
        self._kept[kept.item.job_id] = kept
        return kept

    def call(self, key: str, queue_id: str) -> None:
        """Let an item that is there be found by its retry's id as well."""
        kept = self._kept.get(key)
        if kept is not None:
            kept.aliases.append(queue_id)
            self._aliases[queue_id] = key

    def let_go(self, kept: Kept) -> None:
        """Forget an item."""
        key = kept.item.job_id
        del self._kept[key]
        for alias in kept.aliases:
            if self._aliases.get(alias) == key:
                del self._aliases[alias]


def new_kept(job: object, task: Message, now: datetime, max_retries: int) -> Kept:
    """Return a job that has not failed yet.

    Args:
        job: As it was given.
        task: The same as a message.
        now: The time.
        max_retries: Retries that it gets at most.
    """
    original = task if isinstance(job, Mapping) else job
    item = DLQItem(
        job_id=task.id,
        original_job=cast("JobProtocol", original),
        failure_count=0,
        first_failure=now,
        last_failure=now,
        last_error="",
        max_retries=max_retries,
    )
    return Kept(item, task, said_by(task))


def retries_more(state: State, retry_after: float | None) -> int:
    """Return by how much a failure changes an item's count of retries.

    A retry is counted once the queue has acknowledged it; one that fails before was not yet. A
    server that asks to wait has refused the time, not the job: that costs no retry.
    """
    is_free = retry_after is not None
    if state is State.SENDING:
        return int(not is_free)
    return -int(state is State.RETRYING and is_free)


def said_by(task: Message) -> str:
    """Return what a task asks for, as a hash."""
    return hash_text(f"{task.name}{task.args!r}{sorted(task.kwargs.items())!r}")


def stats_of(all_kept: Collection[Kept], counted: Mapping[str, int]) -> DLQStats:
    """Count items.

    Args:
        all_kept: Those that are there.
        counted: What was done: `retried`, `archived` and `deleted`.
    """
    given_up = (State.GIVEN_UP, State.ARCHIVED)
    return DLQStats(
        total_items=len(all_kept),
        by_category=dict(Counter(each.item.failure_category.value for each in all_kept)),
        retried_count=counted["retried"],
        archived_count=counted["archived"],
        deleted_count=counted["deleted"],
        permanent_failures=sum(each.state in given_up for each in all_kept),
    )


def verdict_of(error: str) -> Verdict:
    """Return what an error is, whatever the rules of the user's do."""
    try:
        return ErrorClassifier.verdict(error)
    except Exception:
        # A rule of the user's: the failure must not be lost for it.
        logger.exception("an error could not be classified: %s", redacted(error))
        return Verdict(FailureCategory.UNKNOWN, UNEXPECTED)
