"""Every query on jobs, their attempts and their units, by name.

`job_id` and `held_fence` name a claim. A query that changes a job says the state and the fence that
it expects; one that finds 0 rows has lost the job.
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import and_, bindparam, case, func, literal, or_, select
from sqlalchemy.dialects.sqlite import Insert

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.database import InsertInto
from lexigram_ray.jobs.records import REMOVED_CODE, UnitState
from lexigram_ray.jobs.schema import attempts, jobs, unfinished, units

_THIS_JOB = jobs.c.id == bindparam("job_id")
_HELD = and_(
    _THIS_JOB,
    jobs.c.fence == bindparam("held_fence"),
    jobs.c.status == literal(JobStatus.RUNNING.value),
)
_UNCLAIMED = {"owner": None, "lease_until": None}

# -- Submitting ------------------------------------------------------------------------------------

# The unfinished job that asks for the same; the partial unique index lets there be only one.
UNFINISHED_JOB_LIKE = select(jobs).where(
    jobs.c.kind == bindparam("kind"), jobs.c.spec_key == bindparam("spec_key"), unfinished
)

# The job that once took this unique key, finished or not.
JOB_OF_UNIQUE_KEY = select(jobs).where(jobs.c.unique_key == bindparam("unique_key"))


@cache
def insert_job(insert_into: InsertInto) -> Insert:
    """Add a job, or nothing where an index shows that another process was first."""
    return insert_into(jobs).on_conflict_do_nothing()


# -- Claiming --------------------------------------------------------------------------------------

# One job, locked until the transaction ends (on SQLite the whole database is).
LOCK_JOB = select(jobs).where(_THIS_JOB).with_for_update()

# The pending job that is next: higher priority first, then older first.
NEXT_PENDING = (
    select(jobs)
    .where(jobs.c.kind == bindparam("kind"), jobs.c.status == literal(JobStatus.PENDING.value))
    .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)

# All running jobs of a kind, in the same order: some may have lost their owner.
RUNNING_OF_KIND = (
    select(jobs)
    .where(jobs.c.kind == bindparam("kind"), jobs.c.status == literal(JobStatus.RUNNING.value))
    .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
    .with_for_update(skip_locked=True)
)

# Give a job to an owner, if it still is as it was read. From here on older fences are refused.
TAKE_JOB = (
    jobs.update()
    .where(_THIS_JOB, jobs.c.fence == bindparam("seen_fence"), unfinished)
    .values(
        status=JobStatus.RUNNING.value,
        fence=jobs.c.fence + 1,
        attempt=jobs.c.attempt + 1,
        owner=bindparam("new_owner"),
        lease_until=bindparam("new_lease"),
        started_at=func.coalesce(jobs.c.started_at, bindparam("now")),
    )
)

# Record the claim that TAKE_JOB made.
OPEN_ATTEMPT = attempts.insert().values(
    job_id=bindparam("job_id"),
    number=bindparam("attempt_number"),
    fence=bindparam("new_fence"),
    owner=bindparam("new_owner"),
    started_at=bindparam("now"),
)

# End whatever attempt of a job is still open: there is at most one.
CLOSE_ATTEMPT = (
    attempts.update()
    .where(attempts.c.job_id == bindparam("of_job"), attempts.c.ended_at.is_(None))
    .values(ended_at=bindparam("now"), outcome=bindparam("how"), error=bindparam("why"))
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

# Give the job back unfinished: whoever comes next may claim it at once.
RELEASE = jobs.update().where(_HELD).values(status=JobStatus.PENDING.value, **_UNCLAIMED)

# End the job for good.
FINISH = (
    jobs.update()
    .where(_HELD)
    .values(
        status=bindparam("final_status"),
        finished_at=bindparam("now"),
        error=bindparam("why"),
        error_code=bindparam("why_code"),
        summary=bindparam("new_summary"),
        **_UNCLAIMED,
    )
)

# -- Looking at jobs -------------------------------------------------------------------------------

JOB = select(jobs).where(_THIS_JOB)

# Newest first; each page goes on below the last job of the page before.
NEWEST_JOBS = (
    select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(bindparam("at_most"))
)
WITH_STATUS = jobs.c.status == bindparam("status")
OF_KIND = jobs.c.kind == bindparam("kind")
OF_COLLECTION = jobs.c.collection == bindparam("collection")
BELOW = or_(
    jobs.c.created_at < bindparam("last_created_at"),
    and_(jobs.c.created_at == bindparam("last_created_at"), jobs.c.id < bindparam("last_id")),
)

ATTEMPTS_OF_JOB = (
    select(attempts).where(attempts.c.job_id == bindparam("job_id")).order_by(attempts.c.number)
)

# -- Units -----------------------------------------------------------------------------------------

UNITS_OF_JOB = select(units).where(units.c.job_id == bindparam("job_id")).order_by(units.c.unit_id)

DONE_UNITS = select(units.c.unit_id).where(
    units.c.job_id == bindparam("job_id"), units.c.state == literal(UnitState.DONE.value)
)

FAILED_UNITS = (
    select(units)
    .where(units.c.job_id == bindparam("job_id"), units.c.state == literal(UnitState.FAILED.value))
    .order_by(units.c.unit_id)
    .limit(bindparam("at_most"))
)

FAILED_IDS = select(units.c.unit_id).where(
    units.c.job_id == bindparam("job_id"),
    units.c.state == literal(UnitState.FAILED.value),
    units.c.unit_id.startswith(bindparam("prefix"), autoescape=False),
)

CRASHES_OF_UNITS = select(units.c.unit_id, units.c.crashes).where(
    units.c.job_id == bindparam("job_id"),
    units.c.unit_id.in_(bindparam("unit_ids", expanding=True)),
)


@cache
def add_unit(insert_into: InsertInto) -> Insert:
    """Add a unit to be worked on; one that is already there stays as it is."""
    return insert_into(units).on_conflict_do_nothing()


@cache
def count_crash(insert_into: InsertInto) -> Insert:
    """Count a worker's death against a unit, adding the unit where it is missing."""
    statement = insert_into(units)
    return statement.on_conflict_do_update(
        index_elements=[units.c.job_id, units.c.unit_id],
        set_={"crashes": units.c.crashes + 1, "updated_at": statement.excluded.updated_at},
    )


# What the finished units of a job add up to. A pruned document is a unit of code `removed`.
UNIT_TOTALS = select(
    func.coalesce(func.sum(units.c.chunks), 0).label("chunks"),
    func.coalesce(func.sum(units.c.computed), 0).label("computed"),
    func.coalesce(func.sum(units.c.cached), 0).label("cached"),
    func.coalesce(func.sum(units.c.replaced), 0).label("replaced"),
    func.coalesce(
        func.sum(
            case((and_(units.c.code == literal(REMOVED_CODE), units.c.replaced > 0), 1), else_=0)
        ),
        0,
    ).label("removed"),
    func.coalesce(
        func.sum(case((units.c.state == literal(UnitState.FAILED.value), 1), else_=0)), 0
    ).label("failed"),
).where(units.c.job_id == bindparam("job_id"), units.c.state != literal(UnitState.PENDING.value))


@cache
def note_replaced(insert_into: InsertInto) -> Insert:
    """Note what the table holds of a document before a job's first write to it, and only then."""
    statement = insert_into(units)
    return statement.on_conflict_do_update(
        index_elements=[units.c.job_id, units.c.unit_id],
        set_={"replaced": func.coalesce(units.c.replaced, statement.excluded.replaced)},
    )


@cache
def finish_unit(insert_into: InsertInto) -> Insert:
    """Set how a unit ended, whether or not it was added first; what was counted stays."""
    statement = insert_into(units)
    kept = {"job_id", "unit_id", "crashes", "replaced"}
    return statement.on_conflict_do_update(
        index_elements=[units.c.job_id, units.c.unit_id],
        set_={column.name: column for column in statement.excluded if column.name not in kept},
    )


NEW_UNIT: dict[str, object] = {
    "state": UnitState.PENDING.value,
    "crashes": 0,
    "content_hash": "",
    "chunks": 0,
    "computed": 0,
    "cached": 0,
    "category": None,
    "code": "",
    "reason": "",
    "seconds": 0.0,
    "replaced": None,
}
