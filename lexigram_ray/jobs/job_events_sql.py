"""Every query on the events of jobs, by name."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select

from lexigram_ray.jobs.schema import job_events, jobs

_earlier = job_events.alias("earlier")

# The next event of a job. Whoever adds one holds the job's row, so that no two get one number.
ADD = job_events.insert().values(
    job_id=bindparam("of_job"),
    seq=select(func.coalesce(func.max(_earlier.c.seq), 0) + 1)
    .where(_earlier.c.job_id == bindparam("of_job"))
    .scalar_subquery(),
    at=bindparam("now"),
    type=bindparam("what"),
    data=bindparam("given"),
)

OF_JOB = (
    select(job_events)
    .where(job_events.c.job_id == bindparam("of_job"), job_events.c.seq > bindparam("after"))
    .order_by(job_events.c.seq)
    .limit(bindparam("at_most"))
)

# What a job's row itself tells of its submission.
_TOLD = ("created_at", "kind", "collection", "priority", "retry_of")
SUBMITTED = select(*(jobs.c[name] for name in _TOLD)).where(jobs.c.id == bindparam("of_job"))
