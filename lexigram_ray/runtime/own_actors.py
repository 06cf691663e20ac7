"""The detached actors of a store on the cluster that this process is attached to."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ClusterUnreachableError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.actor_names import (
    job_id_of,
    kill_actor,
    letters_name,
    letters_prefix,
    maintenance_name,
    maintenance_prefix,
    names_in_use,
    queue_name,
    queue_prefix,
)
from lexigram_ray.runtime.cluster import NAMESPACE
from lexigram_ray.runtime.dead_letter_actor import DeadLetterActor
from lexigram_ray.runtime.maintenance_actor import MaintenanceActor
from lexigram_ray.runtime.queue_actor import JobQueueActor

ANSWER_SECONDS = 60.0
LOOK_SECONDS = 5.0
STOP_SECONDS = 10.0
LEAST_DRAIN_SECONDS = 30.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorState:
    """An actor as it is now.

    Attributes:
        pid: None where it does not answer.
        node: Name of its machine.
    """

    name: str
    pid: int | None
    node: str | None

    def to_dict(self) -> dict[str, object]:
        """Return what `status --json` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What has become of the actors of a store.

    Attributes:
        given_back: Ids of jobs whose runners have ended in good order.
        killed: Ids of jobs whose runners had to be killed; nothing is lost by that either.
    """

    given_back: tuple[str, ...]
    killed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensured:
    """An actor that runs now.

    Attributes:
        started: Whether it was started now.
    """

    state: ActorState
    started: bool


def ensure_actors(config: WorkersConfig, store_id: str) -> dict[type, Ensured]:
    """Have the queue, the dead-letter and the maintenance actor of these settings and code run.

    They run in place of any others of the store.

    Returns:
        Each of them, by its class; without those that are turned off.

    Raises:
        ClusterUnreachableError: One does not begin.
    """
    key = settings_key(config)
    wanted = [kept for kept in _KEPT if kept.is_wanted(config)]
    for name in (
        name for kept in _KEPT if kept not in wanted for name in _names_of(kept, store_id)
    ):
        _end_kept(name)
    # All are started before any is waited for.
    started = {kept: _start(kept, config, store_id, key) for kept in wanted}
    return {
        kept.actor: Ensured(state=_begun(kept, store_id), started=is_new)
        for kept, is_new in started.items()
    }


def states_of(store: Store) -> list[ActorState]:
    """Return the kept actors of a store, and the runners of its jobs."""
    runners = _runners(store)
    states = [_state(name, LOOK_SECONDS) for name in (*_kept_names(store.store_id), *runners)]
    # A runner that has ended its job, and is just ending itself, is no longer of interest.
    return [each for each in states if each.pid or not _is_over(store, runners.get(each.name))]


def drain(config: WorkersConfig, store: Store, tell: Callable[[str], None]) -> Drained:
    """End the actors of a store; its running jobs are pending then, and resumable.

    Args:
        tell: Is given what is waited for.
    """
    for name in _kept_names(store.store_id):
        _end_kept(name)
    runners = _runners(store)
    if runners:
        tell(f"waiting for {len(runners)} running job(s) to reach a safe point")
    for name in runners:
        with suppress(RayError, ValueError):
            _handle(name).stop.remote()
    left = _wait_for_end(runners, max(LEAST_DRAIN_SECONDS, config.jobs.lease_seconds))
    for name in left:
        kill_actor(name)
    return Drained(
        given_back=tuple(runners[name] for name in runners if name not in left),
        killed=tuple(runners[name] for name in left),
    )


def dashboard_url() -> str | None:
    """Return the address of the cluster's dashboard."""
    # Of what `ray.init` has returned; asked again, it returns the same.
    url = ray.init(ignore_reinit_error=True, logging_level=logging.ERROR).dashboard_url
    return f"http://{url}" if url else None


def settings_key(config: WorkersConfig) -> str:
    """Return what tells one configuration from another, secrets included; it tells none of them."""
    secrets = config.embedding.server.api_key, config.dead_letters.webhook_url
    hidden = [secret.get_secret_value() if secret else "" for secret in secrets]
    return hash_text(json.dumps([config.model_dump(mode="json"), *hidden], sort_keys=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """An actor that `up` keeps running, one a store.

    Attributes:
        what: It is, in messages.
        name: From a store's id to its name.
        prefix: From a store's id to what its names begin with, whatever their version.
        is_wanted: Whether a configuration has it run.
    """

    actor: type
    what: str
    name: Callable[[str], str]
    prefix: Callable[[str], str]
    is_wanted: Callable[[WorkersConfig], bool] = lambda _config: True


_KEPT = (
    _Kept(actor=JobQueueActor, what="job queue", name=queue_name, prefix=queue_prefix),
    _Kept(
        actor=DeadLetterActor, what="dead-letter actor", name=letters_name, prefix=letters_prefix
    ),
    _Kept(
        actor=MaintenanceActor,
        what="maintenance actor",
        name=maintenance_name,
        prefix=maintenance_prefix,
        is_wanted=lambda config: config.enable_maintenance,
    ),
)


def _start(kept: _Kept, config: WorkersConfig, store_id: str, key: str) -> bool:
    """Start an actor unless it is there; return whether it was not."""
    name = kept.name(store_id)
    for other in _names(kept.prefix(store_id)):
        if other != name or _ask(other, LOOK_SECONDS).get("settings_key") != key:
            _end_kept(other)
    was_there = bool(_names(name))
    actor = ray.remote(kept.actor).options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
    )
    actor.remote(config, name, key)
    return not was_there


def _begun(kept: _Kept, store_id: str) -> ActorState:
    name = kept.name(store_id)
    state = _state(name, ANSWER_SECONDS)
    if state.pid is None:
        raise ClusterUnreachableError(
            f"the {kept.what} {name} does not begin on the cluster",
            hint="`ray status` shows what the cluster lacks, `ray list actors --detail` why",
        )
    return state


def _kept_names(store_id: str) -> list[str]:
    return [name for kept in _KEPT for name in _names_of(kept, store_id)]


def _names_of(kept: _Kept, store_id: str) -> list[str]:
    return _names(kept.prefix(store_id))


def _names(prefix: str) -> list[str]:
    return sorted(name for name in names_in_use() if name.startswith(prefix))


def _runners(store: Store) -> dict[str, str]:
    """Return the job's id by the runner's name; other stores may have runners on a cluster."""
    found = {name: job_id_of(name) for name in sorted(names_in_use())}
    return {name: job_id for name, job_id in found.items() if job_id and store.get(job_id)}


def _is_over(store: Store, job_id: str | None) -> bool:
    job = store.get(job_id) if job_id else None
    return job is not None and job.status.is_final


def _handle(name: str) -> Any:
    return ray.get_actor(name, namespace=NAMESPACE)


def _state(name: str, seconds: float) -> ActorState:
    told = _ask(name, seconds)
    return ActorState(name=name, pid=told.get("pid"), node=told.get("node"))


def _ask(name: str, seconds: float) -> dict[str, Any]:
    """Return what an actor tells of itself; nothing where it has ended or does not answer."""
    try:
        return ray.get(_handle(name).describe.remote(), timeout=seconds)
    except (ValueError, RayError):
        return {}


def _end_kept(name: str) -> None:
    # Asked first, so that no runner is being started while the runners are looked for.
    with suppress(RayError, ValueError):
        ray.get(_handle(name).stop.remote(STOP_SECONDS), timeout=STOP_SECONDS + LOOK_SECONDS)
    kill_actor(name)
    _wait_for_end([name], STOP_SECONDS)


def _wait_for_end(names: Sequence[str] | dict[str, str], seconds: float) -> list[str]:
    """Return those that have not ended in time."""
    deadline = time.monotonic() + seconds
    while True:
        alive = names_in_use()
        left = [name for name in names if name in alive]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(POLL_SECONDS)
