"""What the actors of a cluster are called: readable in the dashboard, and found by their names."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import ray
from ray.util import list_named_actors

import lexigram_ray
from lexigram_ray.jobs.records import Job
from lexigram_ray.runtime.cluster import NAMESPACE

RUNNER = "job:"
_QUEUE = "queue:"
_LETTERS = "dlq:"


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


def runner_name(job: Job) -> str:
    """Return the name of the actor that works on a job."""
    return f"{RUNNER}{job.kind}:{job.collection}:{job.id}"


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
