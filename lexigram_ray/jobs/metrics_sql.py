"""Every query on the figures of the system's work, by name.

Units and attempts of a job that has ended do not change any more: they are read without any lock.
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import and_, bindparam, case, func, literal, literal_column, or_, select
from sqlalchemy.dialects.sqlite import Insert

from lexigram_ray.jobs.database import InsertInto
from lexigram_ray.jobs.metrics_records import MINUTE_MICROS
from lexigram_ray.jobs.records import REMOVED_CODE, UnitState
from lexigram_ray.jobs.schema import attempts, jobs, metrics_rollup, rollup_pending, units

EMBED = "embed"
"""The kind of job whose units are ranges of rows; as in `requests`, which takes long to import."""

# -- Jobs that have ended and are not in the figures yet -------------------------------------------

# Written in the transaction that ends the job; it ends once.
NOTE_ENDED = rollup_pending.insert().values(job_id=bindparam("ended_job"))

PENDING = (
    select(rollup_pending.c.job_id).order_by(rollup_pending.c.job_id).limit(bindparam("at_most"))
)

_OF_THESE = rollup_pending.c.job_id.in_(bindparam("job_ids", expanding=True))
STILL_PENDING = select(rollup_pending.c.job_id).where(_OF_THESE)
FORGET_PENDING = rollup_pending.delete().where(_OF_THESE)
COUNT_PENDING = select(func.count()).select_from(rollup_pending)

# -- What such jobs have done ----------------------------------------------------------------------

JOBS_THAT_ENDED = select(
    jobs.c.id,
    jobs.c.kind,
    jobs.c.status,
    jobs.c.collection,
    jobs.c.spec,
    jobs.c.error_code,
    jobs.c.summary,
    jobs.c.created_at,
    jobs.c.started_at,
    jobs.c.finished_at,
).where(jobs.c.id.in_(bindparam("job_ids", expanding=True)), jobs.c.finished_at.is_not(None))

# Written out, not bound: PostgreSQL takes two parameters for two values, and two terms then.
_MINUTE_MICROS = literal_column(str(MINUTE_MICROS))
_MINUTE = (units.c.updated_at - units.c.updated_at % _MINUTE_MICROS).label("at")
_ENDED_UNITS = and_(
    units.c.job_id.in_(bindparam("job_ids", expanding=True)),
    units.c.state != literal(UnitState.PENDING.value),
)
_WROTE = (units.c.chunks > literal_column("0")).label("wrote")
_GROUP = (units.c.job_id, _MINUTE, units.c.state, units.c.category, units.c.code, _WROTE)

# By minute and end: how many units, and what they add up to.
UNIT_SUMS = (
    select(
        *_GROUP,
        func.count().label("units"),
        func.sum(units.c.chunks).label("chunks"),
        func.sum(units.c.computed).label("computed"),
        func.sum(units.c.cached).label("cached"),
    )
    .where(_ENDED_UNITS)
    .group_by(*_GROUP)
)

# How long each took. Those of texts have no time of their own: 0.
UNIT_SECONDS = select(units.c.job_id, _MINUTE, units.c.seconds).where(
    _ENDED_UNITS, units.c.seconds > literal(0.0)
)

ATTEMPTS_THAT_ENDED = select(attempts.c.job_id, attempts.c.outcome, attempts.c.ended_at).where(
    attempts.c.job_id.in_(bindparam("job_ids", expanding=True)), attempts.c.ended_at.is_not(None)
)

# -- The figures -----------------------------------------------------------------------------------

_OF_RESOLUTION = metrics_rollup.c.resolution == bindparam("of_resolution")

# Whatever is known of some minutes, hours or days.
CELLS_AT = select(metrics_rollup).where(
    _OF_RESOLUTION, metrics_rollup.c.at.in_(bindparam("times", expanding=True))
)

# Some metrics over a time, in its order.
CELLS_BETWEEN = (
    select(metrics_rollup)
    .where(
        _OF_RESOLUTION,
        metrics_rollup.c.at >= bindparam("first"),
        metrics_rollup.c.at < bindparam("end"),
        metrics_rollup.c.name.in_(bindparam("names", expanding=True)),
    )
    .order_by(metrics_rollup.c.at, metrics_rollup.c.name, metrics_rollup.c.labels)
)

PRUNE = metrics_rollup.delete().where(_OF_RESOLUTION, metrics_rollup.c.at < bindparam("before"))


@cache
def put_cell(insert_into: InsertInto) -> Insert:
    """Write a record anew, by whoever holds the lock of the figures and has read it."""
    statement = insert_into(metrics_rollup)
    key = {"resolution", "at", "name", "labels"}
    return statement.on_conflict_do_update(
        index_elements=[metrics_rollup.c[name] for name in sorted(key)],
        set_={column.name: column for column in statement.excluded if column.name not in key},
    )


# -- The store's own counts, which the figures have to agree with ----------------------------------

_IS_COUNTED = and_(
    jobs.c.finished_at.is_not(None),
    jobs.c.kind != bindparam("maintenance_kind"),
    jobs.c.id.not_in(select(rollup_pending.c.job_id)),
)

COUNTED_JOBS = (
    select(jobs.c.kind, jobs.c.collection, jobs.c.status, func.count().label("jobs"))
    .where(_IS_COUNTED)
    .group_by(jobs.c.kind, jobs.c.collection, jobs.c.status)
)

COUNTED_ATTEMPTS = (
    select(jobs.c.kind, attempts.c.outcome, func.count().label("attempts"))
    .join_from(attempts, jobs, attempts.c.job_id == jobs.c.id)
    .where(_IS_COUNTED, attempts.c.ended_at.is_not(None))
    .group_by(jobs.c.kind, attempts.c.outcome)
)

# What stands in the collection already was neither worked on nor looked up.
_IS_DONE = units.c.state == literal(UnitState.DONE.value)
_WORKED_ON = or_(~_IS_DONE, units.c.chunks > literal(0), units.c.code == literal(REMOVED_CODE))
# A unit of an embedding job is a range of rows; those that failed are units of their own.
_IS_RANGE = and_(jobs.c.kind == literal(EMBED), _IS_DONE)
_DOCUMENTS = case((_IS_RANGE, units.c.computed + units.c.cached), else_=1)

COUNTED_UNITS = (
    select(
        jobs.c.kind,
        jobs.c.collection,
        func.sum(_DOCUMENTS).label("documents"),
        func.sum(units.c.chunks).label("chunks"),
        func.sum(units.c.computed).label("computed"),
        func.sum(units.c.cached).label("cached"),
    )
    .join_from(units, jobs, units.c.job_id == jobs.c.id)
    .where(_IS_COUNTED, _WORKED_ON, units.c.state != literal(UnitState.PENDING.value))
    .group_by(jobs.c.kind, jobs.c.collection)
)

COUNTED_FAILURES = (
    select(
        jobs.c.kind,
        jobs.c.collection,
        units.c.category,
        units.c.code,
        func.count().label("failures"),
    )
    .join_from(units, jobs, units.c.job_id == jobs.c.id)
    .where(_IS_COUNTED, units.c.state == literal(UnitState.FAILED.value))
    .group_by(jobs.c.kind, jobs.c.collection, units.c.category, units.c.code)
)
