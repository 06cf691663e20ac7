"""Dead letters are written in the transaction of the failure, and closed in that of the success.

Locks are taken in one order, so that no two writers wait for each other: rows of jobs, then the
ledgers of collections, then units and letters.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Row

from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs import dead_letters_sql, fence
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.letter_records import NewFailure, Subject
from lexigram_ray.jobs.letter_rows import Recorded, new_letter, one_more
from lexigram_ray.jobs.records import DEADLINE_CODE, DOCUMENT_FAILED, Claim

SUCCEEDED, SKIPPED, REMOVED, DROPPED = "succeeded", "skipped", "removed", "dropped"
"""Resolutions of letters that nobody has closed by hand."""

IDS_A_QUERY = 500
_NAMED_PATHS = 3


class LetterWriting:
    """Writes letters in transactions that others have opened, and that hold the job's row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lock(self, connection: Connection, collections: Iterable[str]) -> None:
        """Be the only one who writes to these collections' ledgers and letters."""
        for collection in sorted(set(collections)):
            self._database.lock(connection, f"ledger:{collection}")

    def lock_of_job(self, connection: Connection, job_id: str) -> None:
        """Be the only one who writes to the ledger and letters of a job's collection."""
        self.lock(connection, [_job_of_failures(connection, job_id).collection])

    def failed(self, connection: Connection, job_id: str, failures: Sequence[NewFailure]) -> None:
        """Record failures of a job's documents or rows."""
        if failures:
            job = _job_of_failures(connection, job_id)
            self.record(connection, job.kind, job.collection, job_id, failures)

    def record(
        self,
        connection: Connection,
        kind: str,
        collection: str,
        job_id: str,
        failures: Sequence[NewFailure],
    ) -> None:
        """Record failures: each is a new letter, or one attempt more of the one that stands."""
        self.lock(connection, [collection])
        recorded = Recorded(
            kind=kind, collection=collection, job_id=job_id, now=self._database.now()
        )
        by_subject: defaultdict[Subject, dict[str, NewFailure]] = defaultdict(dict)
        for failure in failures:
            by_subject[failure.subject][failure.subject_id] = failure
        for subject, named in by_subject.items():
            _record(connection, subject, named, recorded)

    def address_documents(
        self, connection: Connection, collection: str, ids: Sequence[str], how: str
    ) -> None:
        """Close the letters of documents, in a transaction that holds the collection's lock."""
        asked = {"in_collection": collection, "of_subject": Subject.DOCUMENT.value}
        if not ids or not _is_any(connection, asked):
            return
        closing = asked | {"how": how, "now": self._database.now()}
        for some in batches(ids):
            connection.execute(dead_letters_sql.ADDRESS, closing | {"subject_ids": some})

    def address_rows(
        self, claim: Claim, collection: str, *, origin: str, ids: Iterable[str]
    ) -> None:
        """Close the letters of rows that a job has embedded, or that its table has no more."""
        asked = {"in_collection": collection, "of_subject": Subject.ROW.value}
        with self._database.write() as connection:
            fence.hold(connection, claim)
            self.lock(connection, [collection])
            if not _is_any(connection, asked):
                return
            given = {"in_collection": collection}
            standing = connection.execute(dead_letters_sql.OPEN_ROWS, given).all()
            # A row that failed in this job may have the id of a good one: it repeats it.
            earlier = [row for row in standing if row.job_id != claim.job_id]
            good = {row.subject_id for row in earlier}.intersection(ids)
            closing = [row.id for row in earlier if row.origin == origin or row.subject_id in good]
            self._address_some(connection, closing, SUCCEEDED)

    def collection_dropped(self, connection: Connection, collection: str) -> None:
        """Close all letters of a collection, whose lock is held."""
        closing = {"in_collection": collection, "how": DROPPED, "now": self._database.now()}
        connection.execute(dead_letters_sql.ADDRESS_COLLECTION, closing)

    def jobs_ended(self, connection: Connection, job_ids: Sequence[str]) -> None:
        """Write what the end of jobs means for letters, in the transaction that has ended them.

        A failed job is a letter of its own, unless its one document is a letter already; a
        completed one closes that of its specification.
        What a job was to try again, and has neither failed nor succeeded with, is open again. Jobs
        of schedules mean nothing for letters: their next run is their retry.
        """
        ended: list[Row[Any]] = []
        for some in batches(job_ids):
            rows = connection.execute(dead_letters_sql.JOBS_THAT_END, {"job_ids": some})
            ended.extend(rows)
        concerned = [
            job for job in ended if job.status == JobStatus.FAILED or _hangs_on(connection, job)
        ]
        if concerned:
            # All at once: in an order of their own, two such transactions would meet crosswise.
            self.lock(connection, _collections(connection, concerned))
        for job in concerned:
            self._end(connection, job)

    def _end(self, connection: Connection, job: Row[Any]) -> None:
        if job.status == JobStatus.FAILED and job.error_code != DOCUMENT_FAILED:
            failure = _failure_of_job(connection, job)
            self.record(connection, job.kind, job.collection, job.id, [failure])
        elif job.status == JobStatus.COMPLETED:
            closing = _names(job) | {"how": SUCCEEDED, "now": self._database.now()}
            connection.execute(dead_letters_sql.ADDRESS_JOB, closing)
        reopening = {"of_job": job.id, "now": self._database.now()}
        connection.execute(dead_letters_sql.REOPEN, reopening)

    def _address_some(self, connection: Connection, ids: Sequence[str], how: str) -> None:
        closing = {"how": how, "now": self._database.now()}
        for some in batches(ids):
            connection.execute(dead_letters_sql.ADDRESS_SOME, closing | {"letter_ids": some})


def batches(ids: Sequence[str], size: int = IDS_A_QUERY) -> Iterator[Sequence[str]]:
    """Yield ids in lists that one statement takes."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _record(
    connection: Connection,
    subject: Subject,
    failures: dict[str, NewFailure],
    recorded: Recorded,
) -> None:
    asked: dict[str, object] = {
        "in_collection": recorded.collection,
        "of_subject": subject.value,
        "of_kind": recorded.kind,
    }
    is_any = _is_any(connection, asked)
    for ids in batches(list(failures)):
        standing: dict[str, Row[Any]] = {}
        if is_any:
            given = asked | {"subject_ids": ids}
            rows = connection.execute(dead_letters_sql.NOT_CLOSED, given)
            standing = {row.subject_id: row for row in rows}
        new = [new_letter(failures[each], recorded) for each in ids if each not in standing]
        again = [
            one_more(row, failures[each], recorded)
            for each, row in standing.items()
            if not _is_repeated(row, recorded)
        ]
        if new:
            connection.execute(dead_letters_sql.ADD, new)
        if again:
            connection.execute(dead_letters_sql.FAILED_AGAIN, again)


def _is_repeated(row: Row[Any], recorded: Recorded) -> bool:
    # A resumed job records its refused rows once more, which is no further failure of theirs.
    return row.subject == Subject.ROW and row.job_id == recorded.job_id


def _is_any(connection: Connection, asked: dict[str, Any]) -> bool:
    return connection.execute(dead_letters_sql.ANY_NOT_CLOSED, asked).first() is not None


def _names(job: Row[Any]) -> dict[str, object]:
    return {
        "in_collection": job.collection,
        "of_kind": job.kind,
        "spec_key": job.spec_key,
    }


def _hangs_on(connection: Connection, job: Row[Any]) -> bool:
    asked = _names(job) | {"of_job": job.id}
    return connection.execute(dead_letters_sql.CONCERNED, asked).first() is not None


def _collections(connection: Connection, ended: Sequence[Row[Any]]) -> set[str]:
    found = {job.collection for job in ended}
    for job in ended:
        asked = {"of_job": job.id}
        found |= set(connection.execute(dead_letters_sql.COLLECTIONS_OF_RETRY, asked).scalars())
    return found


def _job_of_failures(connection: Connection, job_id: str) -> Row[str, str]:
    return connection.execute(dead_letters_sql.JOB_OF_FAILURES, {"job_id": job_id}).one()


def _failure_of_job(connection: Connection, job: Row[Any]) -> NewFailure:
    """Return the failure of a job as a whole, with what its last attempt knows of the error."""
    last = connection.execute(dead_letters_sql.LAST_ATTEMPT, {"job_id": job.id}).one_or_none()
    # A deadline that has passed is no error of the attempt before, and has passed for good.
    category = FailureCategory.PERMANENT if job.error_code == DEADLINE_CODE else None
    if category is None and last is not None and last.category is not None:
        category = FailureCategory(last.category)
    return NewFailure(
        subject=Subject.JOB,
        subject_id=job.spec_key,
        source=_read_by(job),
        origin="",
        category=category or FailureCategory.UNKNOWN,
        code=job.error_code or "",
        error=job.error or "it failed, and did not say why",
        traceback=(last.traceback if last is not None else None) or "",
    )


def _read_by(job: Row[Any]) -> str:
    """Return what a job reads, as users see it."""
    spec = cast("dict[str, object]", json.loads(job.spec))
    source, paths = spec.get("source"), spec.get("paths")
    if isinstance(source, str):
        return source
    if not isinstance(paths, list) or not paths:
        return f"{job.kind} into {job.collection}"
    named = [str(path) for path in cast("list[object]", paths)]
    more = f" and {len(named) - _NAMED_PATHS:,} more" if len(named) > _NAMED_PATHS else ""
    return f"{', '.join(named[:_NAMED_PATHS])}{more}"
