"""The failed jobs of a queue that lives only in this process: which are retried, and when.

A job that fails is one item, however often it fails, and under whatever id its queue delivers its
retries. Nothing here waits, or talks to a queue: times come from a clock that is given.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.foreign_queue import Message, id_of_content
from lexigram_ray.jobs.redaction import MOST_OF_AN_ERROR, bounded, redacted
from lexigram_ray.jobs.retry_policy import RetryPolicy
from lexigram_ray.workers.dlq._kept import (
    Kept,
    Sending,
    Shelf,
    State,
    new_kept,
    retries_more,
    stats_of,
    verdict_of,
)
from lexigram_ray.workers.types import DLQItem, DLQStats

__all__ = ["FailedItems", "Sending"]

ARCHIVED, ARCHIVED_AT, NOTIFIED, REPLAYED = "archived", "archived_at", "notified", "replayed"


class FailedItems:
    """Keeps failed jobs. Safe to use from several threads.

    Args:
        policy: Whether and when they are retried.
        clock: Returns seconds since the epoch.
        jitter: Returns numbers between 0 and 1.
    """

    def __init__(
        self, policy: RetryPolicy, *, clock: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._jitter = jitter
        self._use = threading.RLock()
        self._shelf = Shelf()
        self._turns = itertools.count(1)
        self._ended_early: set[str] = set()
        self._counted = Counter[str]()

    # -- What happens to jobs ----------------------------------------------------------------------

    def failed(self, job: object, task: Message, error: str) -> tuple[DLQItem, bool]:
        """Note that a job has failed: for the first time, again, or as the retry of an item.

        Args:
            job: As it was given; the item's `original_job` where it is the first failure.
            task: The same as a message.
            error: Why, in words.

        Returns:
            The item, and whether it is new.
        """
        with self._use:
            verdict = verdict_of(error)
            now = self._now()
            kept = self._shelf.find(task.id, task)
            is_new = kept is None
            if kept is None:
                kept = self._shelf.add(new_kept(job, task, now, self._policy.most_retries))
            item = kept.item
            item.retry_count += retries_more(kept.state, verdict.retry_after)
            item.failure_count += 1
            item.last_failure = now
            item.last_error = bounded(redacted(error), MOST_OF_AN_ERROR)
            item.failure_category = verdict.category
            for mark in (ARCHIVED, ARCHIVED_AT, NOTIFIED):
                item.metadata.pop(mark, None)
            wait = self._policy.wait(
                verdict.category, item.retry_count, verdict.retry_after, self._jitter()
            )
            item.next_retry = None if wait is None else now + timedelta(seconds=wait)
            kept.state = State.GIVEN_UP if wait is None else State.WAITING
            kept.refusals, kept.turn = 0, 0
            return item, is_new

    def failed_unheard(self, key: str, queue_id: str, error: str) -> None:
        """Note that a retry has failed of which nobody has told; does nothing where somebody has.

        Args:
            key: Of its item, as `under_way` says.
            queue_id: Of the retry, likewise.
            error: Why, in words.
        """
        with self._use:
            kept = self._shelf.get(key)
            if kept is None or kept.state is not State.RETRYING:
                return
            if kept.queue_id == queue_id:
                self.failed(kept.item.original_job, kept.task, error)

    def succeeded(self, job_id: str, task: Message | None = None) -> bool:
        """Note that a job was done: its item is gone.

        Args:
            job_id: Its own, or that under which its retry was delivered.
            task: As it was delivered, where that is known.

        Returns:
            Whether there was an item.
        """
        with self._use:
            kept = self._shelf.find(job_id, task)
            if kept is not None and kept.state is not State.ARCHIVED:
                self._shelf.let_go(kept)
                return True
            if self._shelf.is_any_sent:
                # Perhaps the retry whose id the queue is about to tell.
                self._ended_early.add(job_id)
            return False

    # -- Retrying ----------------------------------------------------------------------------------

    def due(self) -> list[str]:
        """Return the ids of the items whose time has come, oldest due first."""
        with self._use:
            now = self._now()
            waiting = self._waiting()
            return [key for at, key in sorted(waiting) if at <= now]

    def seconds_to_next(self) -> float | None:
        """Return the seconds until an item is due; None where none is waiting."""
        with self._use:
            soonest = min((at for at, _ in self._waiting()), default=None)
            return None if soonest is None else (soonest - self._now()).total_seconds()

    def begin(self, job_id: str, *, asked: bool) -> Sending | None:
        """Take an item to be handed to the queue; None where it is not to be retried now.

        Args:
            job_id: Of the job, or of its retry.
            asked: Whether a person wants it: then neither its category, nor its count, nor its
                time matters. What is under way, or archived, is not begun all the same.
        """
        with self._use:
            kept = self._shelf.find(job_id, None)
            if kept is None or not self._can_begin(kept, asked):
                return None
            kept.before, kept.state = kept.state, State.SENDING
            kept.turn = next(self._turns)
            return Sending(kept.item.job_id, kept.task, kept.turn)

    def sent(self, sending: Sending, queue_id: str) -> None:
        """Note that the queue has acknowledged a retry, under this id."""
        with self._use:
            self._counted["retried"] += 1
            is_over = queue_id in self._ended_early
            for each in (queue_id, id_of_content(sending.task.name, sending.task.kwargs)):
                self._shelf.call(sending.key, each)
            kept = self._shelf.still(sending)
            if kept is not None:
                item = kept.item
                item.retry_count += 1
                item.metadata[REPLAYED] = True
                wait = self._backoff(item.retry_count)
                # Only a person may ask once more, should the queue have lost it.
                item.next_retry = self._now() + timedelta(seconds=wait)
                kept.state, kept.queue_id, kept.refusals = State.RETRYING, queue_id, 0
                if is_over:
                    self._shelf.let_go(kept)
            self._forget_early_ends()

    def refused(self, sending: Sending) -> None:
        """Note that the queue has not taken a retry: it counts as none, and is tried later."""
        with self._use:
            kept = self._shelf.still(sending)
            if kept is not None:
                kept.state = kept.before
                kept.refusals += 1
                if kept.state is State.WAITING:
                    wait = self._backoff(kept.refusals - 1)
                    kept.item.next_retry = self._now() + timedelta(seconds=wait)
            self._forget_early_ends()

    def under_way(self) -> list[tuple[str, str]]:
        """Return the items whose retries have not ended: their ids, and those of the retries."""
        with self._use:
            return [
                (kept.item.job_id, kept.queue_id)
                for kept in self._shelf.all
                if kept.state is State.RETRYING and kept.queue_id
            ]

    # -- Putting away ------------------------------------------------------------------------------

    def remove(self, job_id: str) -> bool:
        """Forget an item, and return whether there was one."""
        with self._use:
            kept = self._shelf.find(job_id, None)
            if kept is None:
                return False
            self._shelf.let_go(kept)
            self._counted["deleted"] += 1
            return True

    def archive(self, job_id: str) -> bool:
        """Mark an item as failed for good, and return whether there was one."""
        with self._use:
            kept = self._shelf.find(job_id, None)
            if kept is None:
                return False
            if kept.state is not State.ARCHIVED:
                self._counted["archived"] += 1
                kept.state, kept.turn = State.ARCHIVED, 0
                kept.item.failure_category = FailureCategory.PERMANENT
                kept.item.next_retry = None
                kept.item.metadata |= {ARCHIVED: True, ARCHIVED_AT: self._now().isoformat()}
            return True

    # -- Looking -----------------------------------------------------------------------------------

    def listed(self, category: FailureCategory | None, limit: int) -> list[DLQItem]:
        """Return items, newest failure first."""
        with self._use:
            found = [
                kept.item
                for kept in self._shelf.all
                if category is None or kept.item.failure_category == category
            ]
            # Of two that failed in one moment the later one goes first.
            found.reverse()
            found.sort(key=lambda item: item.last_failure, reverse=True)
            return found[: max(0, limit)]

    def untold(self) -> list[DLQItem]:
        """Return the items that nobody retries, and of which nobody was told since they failed."""
        with self._use:
            return [
                kept.item
                for kept in self._shelf.all
                if kept.state is State.GIVEN_UP and kept.told < kept.item.failure_count
            ]

    def told(self, item: DLQItem, failure_count: int) -> None:
        """Note that somebody was told of an item, as it was after so many failures."""
        with self._use:
            kept = self._shelf.get(item.job_id)
            if kept is not None and kept.item is item:
                kept.told = failure_count
                if item.failure_count == failure_count:
                    item.metadata[NOTIFIED] = True

    def stats(self) -> DLQStats:
        """Count the items that are there, and what was done since this object was made."""
        with self._use:
            return stats_of(self._shelf.all, self._counted)

    # -- Deciding ----------------------------------------------------------------------------------

    def _waiting(self) -> Iterable[tuple[datetime, str]]:
        return [
            (kept.item.next_retry, kept.item.job_id)
            for kept in self._shelf.all
            if kept.state is State.WAITING and kept.item.next_retry is not None
        ]

    def _can_begin(self, kept: Kept, asked: bool) -> bool:
        is_due = kept.item.next_retry is not None and kept.item.next_retry <= self._now()
        if kept.state is State.WAITING:
            return asked or is_due
        if kept.state is State.RETRYING:
            return asked and is_due
        return asked and kept.state is State.GIVEN_UP

    def _backoff(self, doublings: int) -> float:
        # As for a failure that may pass: neither category nor count matters here.
        endless = replace(self._policy, most_retries=doublings + 1)
        return endless.wait(FailureCategory.TRANSIENT, doublings, None, self._jitter()) or 0.0

    def _forget_early_ends(self) -> None:
        if not self._shelf.is_any_sent:
            self._ended_early.clear()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
