"""What the actors of a cluster are called: readable in the dashboard, and found by their names."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import cast

import ray
from ray.util import list_named_actors

import lexigram_ray
from lexigram_ray.core.job_logging import JobTag
from lexigram_ray.jobs.records import Job
from lexigram_ray.runtime.cluster import NAMESPACE

RUNNER = "job:"
_QUEUE = "queue:"
_LETTERS = "dlq:"
_MAINTENANCE = "maintenance:"
_RUNNER_PARTS = 4


def queue_name(store_id: str) -> str:
    """Return the name of the queue of a store and of this version of the code."""
    return f"{queue_prefix(store_id)}{lexigram_ray.__version__}"


def queue_prefix(store_id: str) -> str:
    """Return what the names of a store's queues begin with, whatever their version."""
    return f"{_QUEUE}{store_id[:8]}:"


def letters_name(store_id: str) -> str:
    """Return the name of the dead-letter actor of a store and of this version of the code."""
    return f"{letters_prefix(store_id)}{lexigram_ray.__version__}"


def letters_prefix(store_id: str) -> str:
    """Return what the names of a store's dead-letter actors begin with, whatever their version."""
    return f"{_LETTERS}{store_id[:8]}:"


def maintenance_name(store_id: str) -> str:
    """Return the name of the maintenance actor of a store and of this version of the code."""
    return f"{maintenance_prefix(store_id)}{lexigram_ray.__version__}"


def maintenance_prefix(store_id: str) -> str:
    """Return what the names of a store's maintenance actors begin with, whatever their version."""
    return f"{_MAINTENANCE}{store_id[:8]}:"


def runner_name(job: Job) -> str:
    """Return the name of the actor that works on a job."""
    return f"{RUNNER}{job.kind}:{job.collection}:{job.id}"


def job_tag_of(name: str) -> JobTag | None:
    """Return which job an actor of this name works on, for its log, if it is a runner's."""
    parts = name.split(":")
    if len(parts) != _RUNNER_PARTS or not name.startswith(RUNNER):
        return None
    return JobTag(job_id=parts[3], collection=parts[2])


def worker_label(job: JobTag, index: int) -> str:
    """Return what an ingestion worker of a job is called, for people."""
    return f"{ingest_task(job)}:{index}"


def ingest_task(job: JobTag) -> str:
    """Return what a batch of documents under way is called."""
    return f"ingest:{job.collection}:{job.job_id}"


def embedder_label(job: JobTag) -> str:
    """Return what a job's own embedder, its pipeline and their tasks are called, for people."""
    return f"embed:{job.collection}:{job.job_id}"


def one_of(label: str) -> str:
    """Return a name that no other actor has: a dead one's is free only a moment later."""
    return f"{label}:{uuid.uuid4().hex[:6]}"


def job_id_of(name: str) -> str | None:
    """Return the id of the job that an actor of this name works on, if it is a runner's."""
    return name.rpartition(":")[2] if name.startswith(RUNNER) else None


def names_in_use() -> set[str]:
    """Return the names of all our living actors, other stores' among them."""
    # Not those of this process's namespace, which a notebook may have chosen.
    found = cast("list[dict[str, str]]", list_named_actors(all_namespaces=True))
    return {actor["name"] for actor in found if actor["namespace"] == NAMESPACE}


def kill_actor(name: str) -> None:
    """End an actor for good, if it has not ended by itself."""
    with suppress(ValueError):
        ray.kill(ray.get_actor(name, namespace=NAMESPACE))
