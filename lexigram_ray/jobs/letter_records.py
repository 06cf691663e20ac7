"""Dead letters as the store keeps and returns them: frozen, and free of SQL.

A dead letter is one failure that outlived its job: of a document, of a table's row, or of a job as
a whole. There is one open letter for each of them, however often it fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lexigram_ray.core.types import Failure, FailureCategory
from lexigram_ray.jobs.records import Submission


class LetterStatus(StrEnum):
    """States of a dead letter; the last two are closed.

    `retrying` has a job that tries it again. A letter whose document fails anew opens again, with
    one attempt more; one that was closed stays as it is, and the new failure gets a new letter.
    """

    OPEN = "open"
    RETRYING = "retrying"
    ADDRESSED = "addressed"
    ARCHIVED = "archived"


class Subject(StrEnum):
    """What has failed."""

    DOCUMENT = "document"
    ROW = "row"
    JOB = "job"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterAttempt:
    """One failure of the letter's subject.

    Attributes:
        error: Why, in words; without secrets.
        error_type: The exception's class; empty where there was none.
        traceback: Without secrets; empty where there is none.
    """

    job_id: str
    at: datetime
    category: FailureCategory
    code: str
    error: str
    error_type: str = ""
    traceback: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return what `dlq show --json` and HTTP answer."""
        return {
            "job_id": self.job_id,
            "at": self.at.isoformat(),
            "category": self.category.value,
            "code": self.code,
            "error": self.error,
            "error_type": self.error_type,
            "traceback": self.traceback or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A failure that can be seen, and done again.

    Attributes:
        kind: Of its job: `ingest` or `embed`.
        subject: What has failed.
        subject_id: The document's id, the row's, or the job's `spec_key`; together with
            `collection`, `kind` and `subject` it names what has failed, across jobs.
        source: What users see: the document's path, or the table and the row.
        origin: What a retry reads: the document's source, or the table's. Empty for a job.
        job_id: The job in which it failed last.
        category: That of the last failure, as are `code`, `error` and `error_type`.
        fingerprint: Equal for errors that have the same cause, as far as their words tell.
        last_failed_at: When it failed, or a job that was to try it again ended without having done
            so.
        retry_count: How many retries have failed; those that a server put off do not count.
        retry_after: Seconds that the last error asked to wait at least.
        next_retry_at: When it is due; None where nobody has decided that it is to be retried.
        asked: Whether a person asked for that: category and count of retries do not matter then.
        retry_job_id: The job that tries it again, while `retrying`.
        resolution: How it was closed: `succeeded`, `skipped`, `removed`, `dropped`, `archived`.
        notify_tries: How often nobody could be told of it since it failed last.
        attempts: Its failures, oldest first; of more than `MOST_ATTEMPTS` the first and the last
            ones.
    """

    id: str
    kind: str
    collection: str
    subject: Subject
    subject_id: str
    source: str
    origin: str
    job_id: str
    category: FailureCategory
    code: str
    error: str
    error_type: str
    fingerprint: str
    status: LetterStatus
    retry_count: int
    retry_after: float | None
    next_retry_at: datetime | None
    asked: bool
    retry_job_id: str | None
    first_failed_at: datetime
    last_failed_at: datetime
    closed_at: datetime | None
    resolution: str
    notify_tries: int = 0
    attempts: tuple[LetterAttempt, ...] = ()

    def to_dict(self, *, max_retries: int) -> dict[str, object]:
        """Return the contract's object: what `dlq show --json` and HTTP answer.

        Args:
            max_retries: Automatic retries that a failure of its category gets.
        """
        return {
            "id": self.id,
            "job_id": self.job_id,
            "kind": self.kind,
            "collection": self.collection,
            "source": self.source,
            "category": self.category.value,
            "code": self.code,
            "error": self.error,
            "retry_count": self.retry_count,
            "max_retries": max_retries,
            "next_retry_at": self.next_retry_at.isoformat() if self.next_retry_at else None,
            "status": self.status.value,
            "retry_job_id": self.retry_job_id,
            "fingerprint": self.fingerprint,
            "first_failed_at": self.first_failed_at.isoformat(),
            "last_failed_at": self.last_failed_at.isoformat(),
            "closed_at": self.closed_at.isoformat() if self.closed_at else None,
            "resolution": self.resolution or None,
            "attempts": [attempt.to_dict() for attempt in self.attempts],
        }


MOST_ATTEMPTS = 20
"""Kept with a letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Which letters; whatever is None does not matter.

    Attributes:
        ids: Only these; of none of them, no letter.
        statuses: Only those in one of these states; all of them are `tuple(LetterStatus)`.
        older_than: Only those that failed last before this.
    """

    ids: tuple[str, ...] | None = None
    statuses: tuple[LetterStatus, ...] = (LetterStatus.OPEN, LetterStatus.RETRYING)
    category: FailureCategory | None = None
    collection: str | None = None
    kind: str | None = None
    code: str | None = None
    fingerprint: str | None = None
    job_id: str | None = None
    older_than: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterGroup:
    """Letters whose errors have the same fingerprint.

    Attributes:
        example: The error of the newest one.
        letter_id: The newest one.
        collections: Where they are, in order of their names.
    """

    fingerprint: str
    count: int
    category: FailureCategory
    code: str
    example: str
    letter_id: str
    first_failed_at: datetime
    last_failed_at: datetime
    collections: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return what `dlq groups --json` answers."""
        return {
            "fingerprint": self.fingerprint,
            "count": self.count,
            "category": self.category.value,
            "code": self.code,
            "example": self.example,
            "letter_id": self.letter_id,
            "first_failed_at": self.first_failed_at.isoformat(),
            "last_failed_at": self.last_failed_at.isoformat(),
            "collections": list(self.collections),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterRetry:
    """A job that is to be made, and the letters that it tries again.

    Attributes:
        anyway: Whether it is to be made even where none of its letters is open any more.
    """

    submission: Submission
    letter_ids: tuple[str, ...]
    anyway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFailure:
    """A failure as it is recorded; `DeadLetter` has the words."""

    subject: Subject
    subject_id: str
    source: str
    origin: str
    category: FailureCategory
    code: str
    error: str
    error_type: str = ""
    traceback: str = field(default="", repr=False)
    retry_after: float | None = None

    @classmethod
    def of(
        cls, failure: Failure, *, subject: Subject, subject_id: str, source: str, origin: str
    ) -> NewFailure:
        """Return what a record's failure says of it."""
        return cls(
            subject=subject,
            subject_id=subject_id,
            source=source,
            origin=origin,
            category=failure.category,
            code=failure.code,
            error=failure.reason,
            error_type=failure.error_type,
            traceback=failure.traceback,
            retry_after=failure.retry_after,
        )
