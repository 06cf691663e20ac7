"""Doing dead letters again: which jobs that makes, at once or at a rate, and what cannot be done.

Nothing is deleted by it: the transaction that makes a job marks its letters as retrying, and the
one that ends the job closes them or opens them again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import source_path
from lexigram_ray.jobs.letter_records import (
    DeadLetter,
    LetterFilter,
    LetterRetry,
    LetterStatus,
    Subject,
)
from lexigram_ray.jobs.obstacles import OBSTACLE_OF_STATUS, Obstacle
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.recorded_config import mapping
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.requests import EMBED, INGEST, REQUEST, needs_object
from lexigram_ray.jobs.retrying import (
    MOST_PATHS,
    again,
    documents_again,
    is_staged,
    missing_paths,
    table_path,
)
from lexigram_ray.jobs.store import Store

LETTERS_AT_ONCE = 1_000
"""Of a transaction: whoever is interrupted between two has left the others open."""

TURN_SECONDS = 30.0
"""Lease of a turn: as long as one may be stopped in the middle of a page."""

LEAST_PER_MINUTE = 1 / (24 * 60)
"""One a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrive:
    """What letters become.

    Attributes:
        retries: The jobs to make, with their letters.
        refused: Letters that are not retried, and why (an `Obstacle`).
    """

    retries: tuple[LetterRetry, ...]
    refused: tuple[tuple[DeadLetter, str], ...]

    @property
    def letter_ids(self) -> list[str]:
        """The letters that can be retried."""
        return [letter_id for each in self.retries for letter_id in each.letter_ids]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """What has become of letters.

    Attributes:
        jobs: That try them again, in the order in which they were made.
        retried: Letters that these jobs try again.
        scheduled: Letters that the dead-letter actor retries at their times.
        refused: Letters that are not retried, and why (an `Obstacle`); without their attempts, as
            there may be many of them.
    """

    jobs: tuple[Job, ...] = ()
    retried: int = 0
    scheduled: int = 0
    refused: tuple[tuple[DeadLetter, str], ...] = ()


@contextmanager
def retrying_turn(store: Store) -> Generator[None]:
    """Wait for this process's turn at retrying letters: read them, and make their jobs, within it.

    Two who have read the same letters and do not retry all the same ones would otherwise make two
    jobs over some of them.
    """
    with store.turn("dead-letters:retrying", Owner.current(), TURN_SECONDS):
        yield


def plan(store: Store, letters: Iterable[DeadLetter], *, staged: Path) -> Redrive:
    """Say which jobs do letters again; nothing is written.

    Documents that failed in one job become one job over them, rows and whole jobs the same job.

    Args:
        staged: The folder of staged tables.
    """
    drawn = _Drawn()
    groups: dict[tuple[str, bool], list[DeadLetter]] = {}
    for letter in letters:
        if (obstacle := OBSTACLE_OF_STATUS.get(letter.status)) is not None:
            drawn.refuse([letter], obstacle)
        else:
            key = letter.job_id, letter.subject is Subject.DOCUMENT
            groups.setdefault(key, []).append(letter)
    for (job_id, is_documents), group in groups.items():
        job = store.get(job_id)
        obstacle = _obstacle_of_job(job)
        if job is None or obstacle is not None:
            drawn.refuse(group, obstacle or Obstacle.NO_JOB)
        elif is_documents:
            _draw_documents(drawn, job, group)
        else:
            _draw_whole_job(drawn, job, group, staged)
    return Redrive(retries=tuple(drawn.retries), refused=tuple(drawn.refused))


def left_open(store: Store, redrive: Redrive) -> list[tuple[DeadLetter, str]]:
    """Return the letters of a plan that its jobs, now made or found, do not try again.

    Whoever has found a running job over the same documents has found one that does not look at
    those that failed before.
    """
    which = LetterFilter(ids=tuple(redrive.letter_ids), statuses=(LetterStatus.OPEN,))
    if not redrive.retries or not store.dead_letters.count(which):
        return []
    return [(letter, Obstacle.OTHERS_TURN) for letter in store.dead_letters.each(which)]


def redrive(
    store: Store,
    which: LetterFilter,
    *,
    staged: Path,
    per_minute: float | None = None,
    limit: int | None = None,
    now: datetime | None = None,
) -> Redriven:
    """Retry letters: now, a transaction for each thousand, or at a rate.

    Args:
        staged: The folder of staged tables.
        per_minute: Letters a minute. They get their times one after the other, and the dead-letter
            actor retries them, whatever becomes of this process. None makes the jobs now; what is
            interrupted has left the other letters open.
        limit: So many letters at most, those that failed longest ago.
        now: When the first of them is due, at a rate; the present time unless given.

    Raises:
        UsageError: The rate or the limit is out of range; nothing was done.
    """
    spacing = None if per_minute is None else _spacing(per_minute)
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} letters retries none", hint="use 1 or more")
    begin = now or datetime.now(UTC)
    done = _Done()
    letters = store.dead_letters.each(which)
    while page := list(islice(letters, _page_size(done, limit))):
        if spacing is None:
            _retry_now(store, done, page, staged)
        else:
            _schedule(store, done, plan(store, page, staged=staged), begin, spacing)
    return Redriven(
        jobs=tuple(done.jobs.values()),
        retried=done.retried,
        scheduled=done.scheduled,
        refused=tuple(done.refused),
    )


@dataclass(slots=True)
class _Done:
    """A `Redriven` in the making; its jobs by id."""

    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    retried: int = 0
    scheduled: int = 0
    refused: list[tuple[DeadLetter, str]] = field(default_factory=list[tuple[DeadLetter, str]])

    def refuse(self, refused: Iterable[tuple[DeadLetter, str]]) -> None:
        self.refused += [(replace(letter, attempts=()), reason) for letter, reason in refused]


@dataclass(slots=True)
class _Drawn:
    """A plan in the making."""

    retries: list[LetterRetry] = field(default_factory=list[LetterRetry])
    refused: list[tuple[DeadLetter, str]] = field(default_factory=list[tuple[DeadLetter, str]])

    def refuse(self, letters: Sequence[DeadLetter], obstacle: Obstacle) -> None:
        self.refused += [(letter, obstacle) for letter in letters]


def _obstacle_of_job(job: Job | None) -> Obstacle | None:
    if job is None:
        return Obstacle.NO_JOB
    if job.kind not in (INGEST, EMBED):
        return Obstacle.OTHER_KIND
    # Its own attempts may still mend what has failed; a retry repeats what is final.
    if not job.status.is_final:
        return Obstacle.UNFINISHED
    if not mapping(job.spec.get(REQUEST)):
        return Obstacle.NO_REQUEST
    return Obstacle.OBJECT if needs_object(job.spec) else None


def _draw_documents(drawn: _Drawn, job: Job, letters: Sequence[DeadLetter]) -> None:
    if job.kind != INGEST:
        drawn.refuse(letters, Obstacle.OTHER_KIND)
        return
    there = [letter for letter in letters if os.path.lexists(source_path(letter.origin))]
    found = {letter.id for letter in there}
    drawn.refuse([each for each in letters if each.id not in found], Obstacle.FILE_GONE)
    request = mapping(job.spec.get(REQUEST))
    for start in range(0, len(there), MOST_PATHS):
        part = sorted(there[start : start + MOST_PATHS], key=lambda letter: letter.origin)
        submission = documents_again(job, request, [letter.origin for letter in part])
        drawn.retries.append(LetterRetry(submission=submission, letter_ids=_ids(part)))


def _draw_whole_job(drawn: _Drawn, job: Job, letters: Sequence[DeadLetter], staged: Path) -> None:
    request = mapping(job.spec.get(REQUEST))
    obstacle: Obstacle | None = None
    if job.kind == INGEST:
        obstacle = Obstacle.FILE_GONE if missing_paths(request) else None
    elif not is_staged(job, staged):
        path = table_path(request)
        if path is None:
            obstacle = Obstacle.TEXTS_GONE
        elif not os.path.lexists(source_path(path)):
            obstacle = Obstacle.TABLE_GONE
    if obstacle is not None:
        drawn.refuse(letters, obstacle)
        return
    submission = again(job, job.spec)
    drawn.retries.append(LetterRetry(submission=submission, letter_ids=_ids(letters)))


def _spacing(per_minute: float) -> timedelta:
    if not (math.isfinite(per_minute) and per_minute >= LEAST_PER_MINUTE):
        raise UsageError(
            f"a rate of {per_minute:g} letters a minute is out of range",
            hint="give letters a minute, such as 60; the least is one a day",
        )
    return timedelta(minutes=1 / per_minute)


def _page_size(done: _Done, limit: int | None) -> int:
    left = LETTERS_AT_ONCE if limit is None else limit - done.retried - done.scheduled
    return min(LETTERS_AT_ONCE, max(0, left))


def _retry_now(store: Store, done: _Done, letters: Sequence[DeadLetter], staged: Path) -> None:
    with retrying_turn(store):
        # As they are now: an actor may have retried them since they were read.
        which = LetterFilter(ids=_ids(letters), statuses=tuple(LetterStatus))
        redrive = plan(store, store.dead_letters.each(which), staged=staged)
        made = store.dead_letters.retry(redrive.retries)
    done.jobs |= {job.id: job for job, _ in made}
    # Some may have been closed since they were read.
    mine = LetterFilter(ids=tuple(redrive.letter_ids), statuses=(LetterStatus.RETRYING,))
    done.retried += store.dead_letters.count(mine) if made else 0
    done.refuse([*redrive.refused, *left_open(store, redrive)])


def _schedule(
    store: Store, done: _Done, redrive: Redrive, begin: datetime, spacing: timedelta
) -> None:
    times = {
        letter_id: begin + spacing * (done.scheduled + place)
        for place, letter_id in enumerate(redrive.letter_ids)
    }
    done.scheduled += store.dead_letters.schedule(times, asked=True) if times else 0
    done.refuse(redrive.refused)


def _ids(letters: Iterable[DeadLetter]) -> tuple[str, ...]:
    return tuple(letter.id for letter in letters)
