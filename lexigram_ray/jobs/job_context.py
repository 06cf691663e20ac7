"""What is done for a job says so: in every log line, and in the trace that it was submitted in."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from lexigram_ray.core.job_logging import logged_as
from lexigram_ray.core.tracing import span, traceparent
from lexigram_ray.jobs.recorded_config import mapping
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.requests import REQUEST

TRACE = "trace"
"""Of what a job has recorded for whoever works on it; no part of what it asks."""


@contextmanager
def working_on(job: Job) -> Generator[None]:
    """Have all that this context logs and traces belong to a job."""
    trace = trace_of(job)
    with (
        logged_as(job.id, job.collection, trace),
        span("job", parent=trace, job_id=job.id, kind=job.kind, collection=job.collection),
    ):
        yield


@contextmanager
def claiming(job: Job) -> Generator[None]:
    """Trace how long it takes to get a job."""
    with span("claim", parent=trace_of(job), job_id=job.id):
        yield


def trace_of(job: Job) -> str:
    """Return the trace that a job was submitted in, as a `traceparent`; empty for none."""
    return str(mapping(job.spec.get(REQUEST)).get(TRACE) or "")


def traced(spec: Mapping[str, object]) -> dict[str, object]:
    """Return a job's specification with the trace of this moment, if there is one."""
    trace = traceparent()
    if not trace:
        return dict(spec)
    return {**spec, REQUEST: {**mapping(spec.get(REQUEST)), TRACE: trace}}
