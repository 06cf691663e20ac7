"""Dead letters of the store, as the items of a dead-letter worker."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import DLQError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.classifier import ErrorClassifier
from lexigram_ray.jobs.foreign_queue import Message
from lexigram_ray.jobs.letter_records import (
    DeadLetter,
    LetterFilter,
    LetterStatus,
    NewFailure,
    Subject,
)
from lexigram_ray.jobs.retry_policy import RetryPolicy
from lexigram_ray.workers._durable_queue import DurableTask
from lexigram_ray.workers.types import DLQItem, DLQStats

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.store import Store

__all__ = ["LettersOfStore", "Untold"]

TOLD_AT_ONCE = 100
ALL = tuple(LetterStatus)
OPEN = (LetterStatus.OPEN,)
SHOWN = (LetterStatus.OPEN, LetterStatus.RETRYING)

Untold = tuple[str, DLQItem]
"""What tells one failure of a letter from another, and the letter."""

logger = logging.getLogger("lexigram_ray")


class LettersOfStore:
    """Reads and changes the dead letters of a store; an object holds nothing that it does not.

    Args:
        config: Says how often failures are retried, and where staged rows lie.
        store: Is open.
    """

    def __init__(self, config: WorkersConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._letters = store.dead_letters
        self._policy = RetryPolicy.of(config)

    def listed(self, category: FailureCategory | None, limit: int) -> list[DLQItem]:
        """Return letters that are open, retried or archived, newest failure first."""
        if limit < 1:
            return []
        found, _ = self._letters.page(LetterFilter(statuses=SHOWN, category=category), limit=limit)
        if category in (None, FailureCategory.PERMANENT):
            put_away = LetterFilter(statuses=(LetterStatus.ARCHIVED,))
            found += self._letters.page(put_away, limit=limit)[0]
        found.sort(key=lambda letter: letter.last_failed_at, reverse=True)
        return self._items(found[:limit])

    def retry(self, given: str) -> bool:
        """Have all open letters of a job, or one, tried again now; whether any is."""
        from lexigram_ray.jobs.redriving import redrive

        which = self._which(given, OPEN)
        if which is None:
            return False
        done = redrive(self._store, which, staged=self._config.paths.staged)
        for letter, obstacle in done.refused:
            logger.warning("dead letter %s is not retried now: %s", letter.id, obstacle)
        for job in done.jobs:
            logger.info("job %s tries dead letters of job %s again", job.id, job.retry_of)
        return done.retried > 0

    def remove(self, given: str) -> int:
        """Delete letters for good, but none that is being retried; return how many."""
        which = self._which(given, (LetterStatus.OPEN, LetterStatus.ARCHIVED))
        return 0 if which is None else self._letters.delete(which)

    def archive(self, given: str) -> int:
        """Close open letters without a retry; return how many."""
        which = self._which(given, OPEN)
        return 0 if which is None else self._letters.archive(which)

    def stats(self) -> DLQStats:
        """Count the letters that are open, retried or archived."""
        by_category, counted = Counter[str](), Counter[str]()
        limits = self._policy.limits
        for each in self._letters.figures():
            if each.status is LetterStatus.ADDRESSED:
                continue
            is_archived = each.status is LetterStatus.ARCHIVED
            category = FailureCategory.PERMANENT if is_archived else each.category
            by_category[category.value] += each.letters
            counted["archived"] += is_archived * each.letters
            was_retried = each.retry_count > 0 or each.status is LetterStatus.RETRYING
            counted["retried"] += was_retried * each.letters
            is_given_up = (
                each.status is LetterStatus.OPEN and each.retry_count >= limits[each.category]
            )
            counted["permanent"] += (is_archived or is_given_up) * each.letters
        return DLQStats(
            total_items=by_category.total(),
            by_category=dict(by_category),
            retried_count=counted["retried"],
            archived_count=counted["archived"],
            permanent_failures=counted["permanent"],
        )

    def untold(self, is_known: Callable[[str], bool]) -> tuple[list[str], list[Untold]]:
        """Return letters that nobody retries.

        Args:
            is_known: Says by their keys which of them are not to be told now.

        Returns:
            The keys of all of them, and some of those that are to be told, oldest first.
        """
        given_up = self._letters.given_up(self._policy.limits)
        keys = {each.id: each.key for each in given_up if not is_known(each.key)}
        ids = tuple(list(keys)[:TOLD_AT_ONCE])
        letters = list(self._letters.each(LetterFilter(ids=ids, statuses=OPEN))) if ids else []
        items = zip(letters, self._items(letters), strict=True)
        return [each.key for each in given_up], [(keys[letter.id], item) for letter, item in items]

    def add(self, task: Message, error: str | BaseException) -> DLQItem:
        """Record that a job of the store has failed as a whole, if that is not recorded yet.

        Raises:
            DLQError: The store knows no such job.
        """
        # A message whose rows went into a collection of ours is a job of the store all the same.
        job = self._store.get(task.id) or self._store.of_unique_key(f"message:{task.id}")
        if job is None:
            raise DLQError(
                f"job {task.id} is none of the store's, so it cannot be retried from there",
                hint="give DeadLetterQueueWorker the queue that it came from, as main_queue",
            )
        which = LetterFilter(job_id=job.id)
        letter = next(iter(self._letters.page(which, limit=1)[0]), None)
        if letter is None:
            failure = _failure_of(job, error)
            self._letters.add(job.kind, job.collection, job.id, [failure])
            letter = self._letters.page(which, limit=1)[0][0]
        return self._item(letter, job)

    def _which(self, given: str, statuses: tuple[LetterStatus, ...]) -> LetterFilter | None:
        """Return which letters are meant: one by its id, or those of a job; None for none."""
        if self._letters.get(given) is not None:
            return LetterFilter(ids=(given,), statuses=statuses)
        of_job = LetterFilter(job_id=given, statuses=statuses)
        if self._letters.count(of_job):
            return of_job
        # Those that have failed in a later job since, which was to try them again.
        ids = tuple(
            letter.id
            for letter in self._letters.each(LetterFilter(statuses=statuses))
            if any(attempt.job_id == given for attempt in letter.attempts)
        )
        return LetterFilter(ids=ids, statuses=statuses) if ids else None

    def _items(self, letters: list[DeadLetter]) -> list[DLQItem]:
        jobs = {job_id: self._store.get(job_id) for job_id in {each.job_id for each in letters}}
        return [self._item(letter, jobs[letter.job_id]) for letter in letters]

    def _item(self, letter: DeadLetter, job: Job | None) -> DLQItem:
        is_archived = letter.status is LetterStatus.ARCHIVED
        metadata: dict[str, Any] = {
            "letter_id": letter.id,
            "status": letter.status.value,
            "kind": letter.kind,
            "collection": letter.collection,
            "source": letter.source,
            "code": letter.code,
        }
        if letter.retry_job_id is not None:
            metadata["retry_job_id"] = letter.retry_job_id
        if letter.retry_count or letter.retry_job_id is not None:
            metadata["replayed"] = True
        if is_archived and letter.closed_at is not None:
            metadata |= {"archived": True, "archived_at": letter.closed_at.isoformat()}
        most = self._config.jobs.max_attempts
        return DLQItem(
            job_id=letter.job_id,
            original_job=(
                DurableTask(id=letter.job_id, name=letter.kind)
                if job is None
                else DurableTask.of(job, max_attempts=most)
            ),
            failure_count=max(len(letter.attempts), letter.retry_count + 1),
            first_failure=letter.first_failed_at,
            last_failure=letter.last_failed_at,
            last_error=letter.error,
            failure_category=FailureCategory.PERMANENT if is_archived else letter.category,
            retry_count=letter.retry_count,
            max_retries=self._policy.most_retries,
            next_retry=letter.next_retry_at,
            metadata=metadata,
        )


def _failure_of(job: Job, error: str | BaseException) -> NewFailure:
    from lexigram_ray.jobs.redaction import error_text, traceback_text

    verdict = ErrorClassifier.verdict(error)
    is_raised = isinstance(error, BaseException)
    return NewFailure(
        subject=Subject.JOB,
        subject_id=job.spec_key,
        source=f"{job.kind} into {job.collection}",
        origin="",
        category=verdict.category,
        code=verdict.code,
        error=error_text(error) if is_raised else error,
        error_type=type(error).__name__ if is_raised else "",
        traceback=traceback_text(error) if is_raised else "",
        retry_after=verdict.retry_after,
    )
