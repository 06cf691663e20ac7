"""Every query on schedules and their runs, by name."""

from __future__ import annotations

from functools import cache

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.dialects.sqlite import Insert

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.database import InsertInto
from lexigram_ray.jobs.schema import (
    is_maintenance,
    jobs,
    schedule_runs,
    schedules,
    unfinished,
)

_BY_NAME = schedules.c.name == bindparam("of_name")

# -- Definitions -----------------------------------------------------------------------------------

ALL = select(schedules).order_by(schedules.c.name)
ONE = select(schedules).where(_BY_NAME)

# A schedule that is to be what it is found to be until we commit. Whoever also locks rows of jobs
# does that afterwards.
LOCK = ONE.with_for_update()

REMOVE = schedules.delete().where(_BY_NAME)
ENABLE = schedules.update().where(_BY_NAME).values(enabled=bindparam("on"))
CONSIDER = schedules.update().where(_BY_NAME).values(considered_until=bindparam("until"))


@cache
def define(insert_into: InsertInto) -> Insert:
    """Add a schedule, or put another one in its place."""
    new = insert_into(schedules)
    kept = ("name", "created_at")
    changed = {each.name: each for each in new.excluded if each.name not in kept}
    return new.on_conflict_do_update(index_elements=[schedules.c.name], set_=changed)


# -- Making runs -----------------------------------------------------------------------------------

_OF_SCHEDULE = schedule_runs.c.schedule == bindparam("of_name")

# Which of some due times have a run already.
DECIDED = select(schedule_runs.c.due_at).where(
    _OF_SCHEDULE, schedule_runs.c.due_at.in_(bindparam("due_times", expanding=True))
)

ADD_RUNS = schedule_runs.insert()

# -- Working on them -------------------------------------------------------------------------------

# All unfinished jobs of schedules, the longest due first: what tells whether they can be claimed.
_TO_TELL = ("id", "status", "owner", "lease_until", "run_after")
UNFINISHED = (
    select(*(jobs.c[name] for name in _TO_TELL), schedule_runs.c.schedule)
    .join(schedule_runs, schedule_runs.c.job_id == jobs.c.id)
    .where(is_maintenance, unfinished)
    .order_by(schedule_runs.c.due_at, schedule_runs.c.id)
)

# -- Looking at them -------------------------------------------------------------------------------

_WITH_JOBS = schedule_runs.join(jobs, schedule_runs.c.job_id == jobs.c.id, isouter=True)
_LATEST_DUE = (schedule_runs.c.due_at.desc(), schedule_runs.c.id.desc())

RUNS = select(
    schedule_runs,
    jobs.c.status,
    jobs.c.started_at,
    jobs.c.finished_at,
    jobs.c.error,
    jobs.c.error_code,
    jobs.c.summary,
).select_from(_WITH_JOBS)
NEWEST_RUNS = RUNS.order_by(*_LATEST_DUE).limit(bindparam("at_most"))

RUNS_OF_IDS = RUNS.where(schedule_runs.c.id.in_(bindparam("run_ids", expanding=True)))
OF_SCHEDULE = _OF_SCHEDULE
OF_JOB = RUNS.where(schedule_runs.c.job_id == bindparam("of_job"))
BELOW = or_(
    schedule_runs.c.due_at < bindparam("last_due_at"),
    and_(
        schedule_runs.c.due_at == bindparam("last_due_at"),
        schedule_runs.c.id < bindparam("last_id"),
    ),
)
SKIPPED = schedule_runs.c.job_id.is_(None)
IN_STATUS = jobs.c.status.in_(bindparam("statuses", expanding=True))

_COMPLETED = jobs.c.status == JobStatus.COMPLETED.value
LAST_COMPLETED = RUNS.where(_OF_SCHEDULE, _COMPLETED).order_by(*_LATEST_DUE).limit(1)

# -- Forgetting them -------------------------------------------------------------------------------

_ENDED = or_(SKIPPED, jobs.c.finished_at.is_not(None))
_ranked = (
    select(
        schedule_runs.c.id,
        schedule_runs.c.job_id,
        func.row_number()
        .over(partition_by=schedule_runs.c.schedule, order_by=_LATEST_DUE)
        .label("place"),
        # The first of the completed ones of each schedule: what later runs compare with.
        func.row_number()
        .over(partition_by=(schedule_runs.c.schedule, jobs.c.status), order_by=_LATEST_DUE)
        .label("place_of_status"),
        jobs.c.status,
    )
    .select_from(_WITH_JOBS)
    .where(_ENDED)
    .subquery()
)

# Ended runs behind the first so many of their schedule, without the last completed one.
OLD_RUNS = (
    select(_ranked.c.id, _ranked.c.job_id)
    .where(
        _ranked.c.place > bindparam("keep"),
        or_(
            _ranked.c.place_of_status > 1,
            _ranked.c.status.is_(None),
            _ranked.c.status != JobStatus.COMPLETED.value,
        ),
    )
    .order_by(_ranked.c.id)
)

FORGET_RUNS = schedule_runs.delete().where(
    schedule_runs.c.id.in_(bindparam("run_ids", expanding=True))
)
# Their attempts and events go with them.
FORGET_JOBS = jobs.delete().where(
    jobs.c.id.in_(bindparam("job_ids", expanding=True)),
    is_maintenance,
    jobs.c.finished_at.is_not(None),
)
