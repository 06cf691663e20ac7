"""Between dead letters as records and as rows of the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row

from lexigram_ray.core.ids import new_job_id
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.database import from_micros, from_optional_micros, storable
from lexigram_ray.jobs.fingerprints import fingerprint
from lexigram_ray.jobs.letter_records import (
    MOST_ATTEMPTS,
    DeadLetter,
    LetterAttempt,
    LetterStatus,
    NewFailure,
    Subject,
)
from lexigram_ray.jobs.redaction import MOST_OF_AN_ERROR, bounded, redacted

MOST_OF_A_TRACEBACK = 8_000
"""Characters; a letter has up to `MOST_ATTEMPTS` of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Where and when failures have happened."""

    kind: str
    collection: str
    job_id: str
    now: int


def new_letter(failure: NewFailure, recorded: Recorded) -> dict[str, object]:
    """Return the row of a first failure."""
    return {
        "id": new_job_id(),
        "kind": recorded.kind,
        "collection": recorded.collection,
        "subject": failure.subject.value,
        "subject_id": storable(failure.subject_id),
        "status": LetterStatus.OPEN.value,
        **_last_failure(failure, recorded),
        "retry_count": 0,
        "next_retry_at": None,
        "asked": 0,
        "retry_job_id": None,
        "first_failed_at": recorded.now,
        "closed_at": None,
        "resolution": "",
        "notified_at": None,
        "notify_tries": 0,
        "notify_after": 0,
        "attempts": json.dumps([_attempt(failure, recorded)]),
    }


def one_more(row: Row[Any], failure: NewFailure, recorded: Recorded) -> dict[str, object]:
    """Return what `FAILED_AGAIN` is given of a letter whose subject has failed once more."""
    was_retried = row.status == LetterStatus.RETRYING
    attempts = [*json.loads(row.attempts), _attempt(failure, recorded)]
    changed = {
        **_last_failure(failure, recorded),
        # A server that asks to wait has refused the time, not the text.
        "retry_count": row.retry_count + int(was_retried and failure.retry_after is None),
        "attempts": json.dumps(_first_and_last(attempts)),
        # Whoever was told is told anew only where a retry has failed.
        "notified_at": None if was_retried else row.notified_at,
        "notify_tries": 0 if was_retried else row.notify_tries,
        "notify_after": 0 if was_retried else row.notify_after,
    }
    return {f"new_{name}": value for name, value in changed.items()} | {"letter_id": row.id}


def letter_of(row: Row[Any]) -> DeadLetter:
    """Return a row of `dead_letters` as a record."""
    return DeadLetter(
        id=row.id,
        kind=row.kind,
        collection=row.collection,
        subject=Subject(row.subject),
        subject_id=row.subject_id,
        source=row.source,
        origin=row.origin,
        job_id=row.job_id,
        category=FailureCategory(row.category),
        code=row.code,
        error=row.error,
        error_type=row.error_type,
        fingerprint=row.fingerprint,
        status=LetterStatus(row.status),
        retry_count=row.retry_count,
        retry_after=row.retry_after,
        next_retry_at=from_optional_micros(row.next_retry_at),
        asked=row.asked == 1,
        retry_job_id=row.retry_job_id,
        first_failed_at=from_micros(row.first_failed_at),
        last_failed_at=from_micros(row.last_failed_at),
        closed_at=from_optional_micros(row.closed_at),
        resolution=row.resolution,
        notify_tries=row.notify_tries,
        attempts=tuple(map(_attempt_of, json.loads(row.attempts))),
    )


def _last_failure(failure: NewFailure, recorded: Recorded) -> dict[str, object]:
    error = _kept(failure.error, MOST_OF_AN_ERROR)
    known = (failure.source, failure.origin, failure.subject_id)
    return {
        "source": storable(failure.source),
        "origin": storable(failure.origin),
        "job_id": recorded.job_id,
        "category": failure.category.value,
        "code": failure.code,
        "error": error,
        "error_type": failure.error_type,
        "fingerprint": fingerprint(failure.code, failure.error_type, error, known=known),
        "retry_after": failure.retry_after,
        "last_failed_at": recorded.now,
    }


def _attempt(failure: NewFailure, recorded: Recorded) -> dict[str, str]:
    return {
        "job_id": recorded.job_id,
        "at": from_micros(recorded.now).isoformat(),
        "category": failure.category.value,
        "code": failure.code,
        "error": _kept(failure.error, MOST_OF_AN_ERROR),
        "error_type": failure.error_type,
        "traceback": _kept(failure.traceback, MOST_OF_A_TRACEBACK),
    }


def _attempt_of(kept: dict[str, str]) -> LetterAttempt:
    return LetterAttempt(
        job_id=kept["job_id"],
        at=datetime.fromisoformat(kept["at"]),
        category=FailureCategory(kept["category"]),
        code=kept["code"],
        error=kept["error"],
        error_type=kept["error_type"],
        traceback=kept["traceback"],
    )


def _first_and_last(attempts: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    if len(attempts) <= MOST_ATTEMPTS:
        return list(attempts)
    return [attempts[0], *attempts[len(attempts) - MOST_ATTEMPTS + 1 :]]


# A wrong column makes a million rows fail with one error.
@lru_cache(maxsize=64)
def _kept(text: str, most: int) -> str:
    return bounded(storable(redacted(text)), most)
