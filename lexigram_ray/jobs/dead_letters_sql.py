"""Every query that writes dead letters, by name; `letter_listing_sql` has those that only look.

Whoever changes a letter holds the lock of its collection's ledger: see `letter_writing`.
"""

from __future__ import annotations

from sqlalchemy import and_, bindparam, literal, select, union_all

from lexigram_ray.jobs.letter_records import LetterStatus, Subject
from lexigram_ray.jobs.schema import (
    attempts,
    dead_letters,
    is_asked_for,
    is_closed,
    is_retried,
    jobs,
    not_closed,
    untold,
)

_SOME = dead_letters.c.id.in_(bindparam("letter_ids", expanding=True))
_OPEN = dead_letters.c.status == literal(LetterStatus.OPEN.value)
_IN_COLLECTION = dead_letters.c.collection == bindparam("in_collection")
_OF_SUBJECT = dead_letters.c.subject == bindparam("of_subject")

# -- Writing with a failure or a success -----------------------------------------------------------

# Whether anything of a kind stands open in a collection at all: most often nothing does.
ANY_NOT_CLOSED = select(dead_letters.c.id).where(_IN_COLLECTION, _OF_SUBJECT, not_closed).limit(1)

# The letters of what fails now, if it failed before.
NOT_CLOSED = select(dead_letters).where(
    _IN_COLLECTION,
    _OF_SUBJECT,
    dead_letters.c.subject_id.in_(bindparam("subject_ids", expanding=True)),
    dead_letters.c.kind == bindparam("of_kind"),
    not_closed,
)

ADD = dead_letters.insert()

# One failure more.
FAILED_AGAIN = (
    dead_letters.update()
    .where(dead_letters.c.id == bindparam("letter_id"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in (
                "source",
                "origin",
                "job_id",
                "category",
                "code",
                "fingerprint",
                "error",
                "error_type",
                "retry_count",
                "retry_after",
                "last_failed_at",
                "attempts",
                "notified_at",
                "notify_tries",
                "notify_after",
            )
        }
        | {
            "status": LetterStatus.OPEN.value,
            "retry_job_id": None,
            "next_retry_at": None,
            "asked": 0,
        }
    )
)

_CLOSED = {
    "status": LetterStatus.ADDRESSED.value,
    "resolution": bindparam("how"),
    "closed_at": bindparam("now"),
    "next_retry_at": None,
    "asked": 0,
    "retry_job_id": None,
}

# What has failed no longer does, whatever kind of job has found that.
ADDRESS = (
    dead_letters.update()
    .where(
        _IN_COLLECTION,
        _OF_SUBJECT,
        dead_letters.c.subject_id.in_(bindparam("subject_ids", expanding=True)),
        not_closed,
    )
    .values(_CLOSED)
)
ADDRESS_SOME = dead_letters.update().where(_SOME, not_closed).values(_CLOSED)
ADDRESS_COLLECTION = dead_letters.update().where(_IN_COLLECTION, not_closed).values(_CLOSED)

# Rows that have failed; there may be many, and only this much of them is asked.
OPEN_ROWS = select(
    dead_letters.c.id, dead_letters.c.subject_id, dead_letters.c.origin, dead_letters.c.job_id
).where(_IN_COLLECTION, dead_letters.c.subject == literal(Subject.ROW.value), not_closed)

# -- Writing with the end of a job -----------------------------------------------------------------

# What a letter about jobs says of one.
_TOLD = ("id", "kind", "status", "collection", "spec", "spec_key", "error", "error_code")
JOBS_THAT_END = (
    select(*(jobs.c[name] for name in _TOLD))
    .where(jobs.c.id.in_(bindparam("job_ids", expanding=True)), is_asked_for)
    .order_by(jobs.c.id)
)

# What the last attempt of a job knows of its error; a traceback is long, and there may be many.
LAST_ATTEMPT = (
    select(attempts.c.category, attempts.c.traceback)
    .where(attempts.c.job_id == bindparam("job_id"))
    .order_by(attempts.c.number.desc())
    .limit(1)
)

# Kind and collection of the job whose failures are recorded.
JOB_OF_FAILURES = select(jobs.c.kind, jobs.c.collection).where(jobs.c.id == bindparam("job_id"))

_OF_SPEC = and_(
    _IN_COLLECTION,
    dead_letters.c.subject == literal(Subject.JOB.value),
    dead_letters.c.subject_id == bindparam("spec_key"),
    dead_letters.c.kind == bindparam("of_kind"),
    not_closed,
)
_OF_RETRY = and_(dead_letters.c.retry_job_id == bindparam("of_job"), is_retried)

# Whether letters hang on the end of a job: on its success, or as what it tries again.
CONCERNED = union_all(
    select(dead_letters.c.id).where(_OF_SPEC), select(dead_letters.c.id).where(_OF_RETRY)
)

# The spec that failed before has now been done.
ADDRESS_JOB = dead_letters.update().where(_OF_SPEC).values(_CLOSED)

COLLECTIONS_OF_RETRY = select(dead_letters.c.collection).distinct().where(_OF_RETRY)

# The job that was to try them again is over, and has neither closed them nor failed with them. To
# them that is one more failure, whoever ended it: the next retry waits from now on.
REOPEN = (
    dead_letters.update()
    .where(_OF_RETRY)
    .values(
        status=LetterStatus.OPEN.value,
        retry_job_id=None,
        asked=0,
        last_failed_at=bindparam("now"),
        retry_count=dead_letters.c.retry_count + 1,
        notified_at=None,
        notify_tries=0,
        notify_after=0,
    )
)

# -- Retrying, archiving, deleting -----------------------------------------------------------------

COLLECTIONS_OF = select(dead_letters.c.collection).distinct().where(_SOME)
STILL_OPEN = select(dead_letters.c.id).where(_SOME, _OPEN)

MARK_RETRYING = (
    dead_letters.update()
    .where(dead_letters.c.id == bindparam("letter_id"), _OPEN)
    .values(
        status=LetterStatus.RETRYING.value,
        retry_job_id=bindparam("by_job"),
        next_retry_at=None,
        asked=0,
    )
)

# A time that a person has set yields to a person's alone.
SCHEDULE = (
    dead_letters.update()
    .where(
        dead_letters.c.id == bindparam("letter_id"),
        _OPEN,
        dead_letters.c.asked <= bindparam("by_person"),
    )
    .values(
        next_retry_at=bindparam("due_at"),
        asked=bindparam("is_asked"),
        retry_count=dead_letters.c.retry_count + bindparam("failed_retries"),
    )
)

ARCHIVE = (
    dead_letters.update()
    .where(_SOME, _OPEN)
    .values(
        status=LetterStatus.ARCHIVED.value,
        resolution=LetterStatus.ARCHIVED.value,
        closed_at=bindparam("now"),
        next_retry_at=None,
        asked=0,
    )
)

# Those that are as they were found to be: one that was closed since is history.
DELETE = dead_letters.delete().where(_SOME, dead_letters.c.status == bindparam("of_status"))

# Closed ones change no more: two who delete them leave each other theirs.
EXPIRE = dead_letters.delete().where(
    dead_letters.c.id.in_(
        select(dead_letters.c.id)
        .where(is_closed, dead_letters.c.closed_at < bindparam("before"))
        .order_by(dead_letters.c.closed_at)
        .limit(bindparam("at_most"))
        .with_for_update(skip_locked=True)
        .correlate(None)
    )
)

# Of the failure that was told, not of one that came meanwhile.
_AS_TOLD = and_(
    dead_letters.c.id == bindparam("letter_id"),
    dead_letters.c.last_failed_at == bindparam("seen_at"),
    untold,
)
NOTIFIED = dead_letters.update().where(_AS_TOLD).values(notified_at=bindparam("now"))
NOTIFY_LATER = (
    dead_letters.update()
    .where(_AS_TOLD)
    .values(notify_tries=dead_letters.c.notify_tries + 1, notify_after=bindparam("not_before"))
)
