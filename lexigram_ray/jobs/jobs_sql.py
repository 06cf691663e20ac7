"""Every query on jobs and their attempts, by name.

`job_id` and `held_fence` name a claim. A query that changes a job says the state and the fence that
it expects; one that finds 0 rows has lost the job.
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import Text, and_, bindparam, cast, func, literal, or_, select
from sqlalchemy.dialects.sqlite import Insert

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.database import InsertInto
from lexigram_ray.jobs.schema import (
    attempts,
    has_deadline,
    is_asked_for,
    jobs,
    running,
    startable,
    unclaimed,
    unfinished,
    waiting,
)

_THIS_JOB = jobs.c.id == bindparam("job_id")
_HELD = and_(_THIS_JOB, jobs.c.fence == bindparam("held_fence"), running)
_AS_SEEN = jobs.c.fence == bindparam("seen_fence")
_UNCLAIMED = {"owner": None, "lease_until": None}

# -- Submitting ------------------------------------------------------------------------------------

# The unfinished job that asks for the same; the partial unique index lets there be only one.
UNFINISHED_JOB_LIKE = select(jobs).where(
    jobs.c.kind == bindparam("kind"), jobs.c.spec_key == bindparam("spec_key"), unfinished
)

# The job that once took this unique key, finished or not.
JOB_OF_UNIQUE_KEY = select(jobs).where(jobs.c.unique_key == bindparam("unique_key"))

# Ask a job that nobody works on for more than it was submitted with; its identity stays.
ASK_MORE = jobs.update().where(_THIS_JOB, unclaimed).values(spec=bindparam("new_spec"))

# A key for a job that was submitted without one: from then on the key answers with it for ever.
GIVE_UNIQUE_KEY = (
    jobs.update()
    .where(jobs.c.id == bindparam("of_job"), jobs.c.unique_key.is_(None), unfinished)
    .values(unique_key=bindparam("new_key"))
)

JOBS_OF_IDS = select(jobs).where(jobs.c.id.in_(bindparam("job_ids", expanding=True)))


@cache
def insert_job(insert_into: InsertInto) -> Insert:
    """Add a job, or nothing where an index shows that another process was first."""
    return insert_into(jobs).on_conflict_do_nothing()


# Jobs that are to be what they are found to be until we commit; always in this order.
LOCK_JOBS = JOBS_OF_IDS.order_by(jobs.c.id).with_for_update()

# A job that this very transaction has made, and that turned out not to be wanted.
UNMAKE_JOB = jobs.delete().where(jobs.c.id == bindparam("job_id"), jobs.c.fence == literal(0))


# -- Claiming --------------------------------------------------------------------------------------

# Higher priority first, then older first.
_IN_ORDER = (jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
OF_KIND = jobs.c.kind == bindparam("kind")
_IN_TIME = or_(jobs.c.deadline.is_(None), jobs.c.deadline > bindparam("now"))

# One job, locked until the transaction ends (on SQLite the whole database is).
LOCK_JOB = select(jobs).where(_THIS_JOB).with_for_update()

# Pending jobs whose time has come. Those that another transaction wakes are left to it.
_DUE = select(jobs.c.id).where(waiting, jobs.c.run_after <= bindparam("now"))
ANY_DUE = _DUE.limit(1)

# Put them into the queue, once, so that no claim has to look through those that still wait.
WAKE = (
    jobs.update()
    .where(jobs.c.id.in_(_DUE.with_for_update(skip_locked=True).correlate(None)))
    .values(run_after=None)
)

# The pending jobs of a kind that are next.
NEXT_PENDING = (
    select(jobs)
    .where(OF_KIND, startable, _IN_TIME)
    .order_by(*_IN_ORDER)
    .limit(bindparam("at_most"))
)
LOCK_NEXT_PENDING = NEXT_PENDING.with_for_update(skip_locked=True)

# All running jobs of a kind, in the same order: some may have lost their owner. Only what tells
# that, and what a claim needs: there may be many.
_TO_CLAIM = (
    "id",
    "status",
    "priority",
    "created_at",
    "fence",
    "attempt",
    "owner",
    "lease_until",
    "deadline",
)
RUNNING_OF_KIND = (
    select(*(jobs.c[name] for name in _TO_CLAIM)).where(OF_KIND, running).order_by(*_IN_ORDER)
)
LOCK_RUNNING_OF_KIND = RUNNING_OF_KIND.with_for_update(skip_locked=True)

# Give a job to an owner, if it still is as it was read. From here on older fences are refused.
TAKE_JOB = (
    jobs.update()
    .where(_THIS_JOB, _AS_SEEN, unfinished)
    .values(
        status=JobStatus.RUNNING.value,
        fence=jobs.c.fence + 1,
        attempt=jobs.c.attempt + 1,
        owner=bindparam("new_owner"),
        lease_until=bindparam("new_lease"),
        started_at=func.coalesce(jobs.c.started_at, bindparam("now")),
        run_after=None,
    )
)

# Record the claim that TAKE_JOB made.
OPEN_ATTEMPT = attempts.insert().values(
    job_id=bindparam("job_id"),
    number=bindparam("attempt_number"),
    fence=bindparam("new_fence"),
    owner=bindparam("new_owner"),
    actor=bindparam("new_actor"),
    started_at=bindparam("now"),
)

# End whatever attempt of a job is still open: there is at most one.
CLOSE_ATTEMPT = (
    attempts.update()
    .where(attempts.c.job_id == bindparam("of_job"), attempts.c.ended_at.is_(None))
    .values(
        ended_at=bindparam("now"),
        outcome=bindparam("how"),
        error=bindparam("why"),
        category=bindparam("of_category"),
        traceback=bindparam("trace"),
    )
)

# -- Working on a claimed job ----------------------------------------------------------------------

# Find the job only while the claim holds, and keep others from claiming it until we commit.
HOLD_CLAIM = select(jobs.c.id).where(_HELD).with_for_update()

# Why a claim no longer holds.
STATE_OF_JOB = select(jobs.c.status, jobs.c.fence).where(_THIS_JOB)

# The owner lives: move its lease.
BEAT = jobs.update().where(_HELD).values(lease_until=bindparam("new_lease"))

# Replace what is shown of a running job.
SAVE_PROGRESS = jobs.update().where(_HELD).values(progress=bindparam("new_progress"))

# Give the job back unfinished: whoever comes next may claim it, at once or after a while.
RELEASE = (
    jobs.update()
    .where(_HELD)
    .values(status=JobStatus.PENDING.value, run_after=bindparam("not_before"), **_UNCLAIMED)
)

# Let a pending job wait, if nobody has claimed it since it was seen.
POSTPONE = (
    jobs.update().where(_THIS_JOB, _AS_SEEN, unclaimed).values(run_after=bindparam("not_before"))
)

# -- Ending a job for good -------------------------------------------------------------------------

_END = (
    jobs.update()
    .where(_THIS_JOB)
    .values(
        status=bindparam("final_status"),
        finished_at=bindparam("now"),
        error=bindparam("why"),
        error_code=bindparam("why_code"),
        run_after=None,
        **_UNCLAIMED,
    )
)

# Its owner says how it ended.
FINISH = _END.where(_HELD).values(summary=bindparam("new_summary"))

# Whoever sees it pending says that it is not tried again.
GIVE_UP = _END.where(_AS_SEEN, unclaimed)

# Take it from whomever has it. Nothing of a job that was never claimed can be under way.
_NEVER_CLAIMED = and_(unclaimed, jobs.c.fence == literal(0))
CANCEL = _END.where(unfinished)
CANCEL_NEVER_CLAIMED = _END.where(_NEVER_CLAIMED)

# The same for a job whose time is over.
_IS_OVERDUE = and_(has_deadline, jobs.c.deadline <= bindparam("now"))
FAIL_OVERDUE = _END.where(unfinished, _IS_OVERDUE)
FAIL_OVERDUE_NEVER_CLAIMED = _END.where(_NEVER_CLAIMED, _IS_OVERDUE)
OVERDUE = (
    select(jobs.c.id, jobs.c.collection, jobs.c.fence)
    .where(_IS_OVERDUE)
    .order_by(jobs.c.deadline, jobs.c.id)
)

# -- Looking at jobs -------------------------------------------------------------------------------

JOB = select(jobs).where(_THIS_JOB)

# Newest first, those whose ids lie between two texts. They are compared byte by byte: there are
# languages that sort `aa` behind `z`.
BY_BYTES = Text().with_variant(Text(collation="C"), "postgresql")
JOBS_BETWEEN = (
    select(jobs)
    .where(
        jobs.c.id >= cast(bindparam("first"), BY_BYTES),
        jobs.c.id <= cast(bindparam("last"), BY_BYTES),
    )
    .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
)

# Newest first; each page goes on below the last job of the page before.
NEWEST_JOBS = (
    select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(bindparam("at_most"))
)
WITH_STATUS = jobs.c.status == bindparam("status")
OF_COLLECTION = jobs.c.collection == bindparam("collection")
BELOW = or_(
    jobs.c.created_at < bindparam("last_created_at"),
    and_(jobs.c.created_at == bindparam("last_created_at"), jobs.c.id < bindparam("last_id")),
)

COUNTS = (
    select(jobs.c.status, func.count().label("jobs")).where(is_asked_for).group_by(jobs.c.status)
)

COUNTS_OF_KIND = (
    select(jobs.c.status, func.count().label("jobs"))
    .where(jobs.c.kind == bindparam("kind"))
    .group_by(jobs.c.status)
)

# Whether some unfinished job's spec has this digest anywhere in its text.
ANY_UNFINISHED_WITH = (
    select(jobs.c.id).where(OF_KIND, unfinished, jobs.c.spec.contains(bindparam("digest"))).limit(1)
)

# Whether any job was made in some time, whoever asked for it.
ANY_MADE_BETWEEN = (
    select(jobs.c.id)
    .where(jobs.c.created_at >= bindparam("since"), jobs.c.created_at < bindparam("until"))
    .limit(1)
)

ATTEMPTS_OF_JOB = (
    select(attempts).where(attempts.c.job_id == bindparam("job_id")).order_by(attempts.c.number)
)

# How a job's ended attempts ended, last to first.
OUTCOMES = (
    select(attempts.c.outcome, attempts.c.category)
    .where(attempts.c.job_id == bindparam("job_id"), attempts.c.ended_at.is_not(None))
    .order_by(attempts.c.number.desc())
)
