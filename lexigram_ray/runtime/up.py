"""`up`: a cluster, and on it who works on jobs, retries what has failed, and does maintenance."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import ray

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ConfigError, UsageError, WorkerError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_targets import check_targets
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.definitions import configured_schedules
from lexigram_ray.runtime.cluster import connected
from lexigram_ray.runtime.cluster_file import (
    NotedCluster,
    alone,
    asked_address,
    forget_cluster,
    is_same,
    note_cluster,
    note_path,
    noted_cluster,
)
from lexigram_ray.runtime.dead_letter_actor import DeadLetterActor
from lexigram_ray.runtime.head import (
    Head,
    PortTakenError,
    address_of,
    end_head,
    start_head,
)
from lexigram_ray.runtime.maintenance_actor import MaintenanceActor
from lexigram_ray.runtime.own_actors import ActorState, Ensured, dashboard_url, ensure_actors
from lexigram_ray.runtime.queue_actor import KINDS, JobQueueActor
from lexigram_ray.runtime.token_auth import DEFAULT_MODE, MODE, TOKEN_PATH, ensure_token, use_token


@dataclass(frozen=True, slots=True, kw_only=True)
class UpReport:
    """What `up` has found or started.

    Attributes:
        dashboard: Its URL; None where the cluster has none.
        started_head: Whether Ray was started now.
        started_queue: Whether the queue was started now.
        started_dead_letters: Whether the dead-letter actor was started now.
        started_maintenance: Whether the maintenance actor was started now.
        maintenance: None where it is turned off.
        pending: Jobs that wait.
        running: Jobs that are worked on.
    """

    address: str
    dashboard: str | None
    started_head: bool
    started_queue: bool
    queue: ActorState
    started_dead_letters: bool
    dead_letters: ActorState
    started_maintenance: bool
    maintenance: ActorState | None
    nodes: int
    cpus: float
    gpus: float
    pending: int
    running: int

    def to_dict(self) -> dict[str, object]:
        """Return what `up --json` prints."""
        return asdict(self)


def up(config: WorkersConfig, address: str | None, tell: Callable[[str], None]) -> UpReport:
    """Have the actors of this state run on a cluster; what runs already is left as it is.

    Args:
        address: A running cluster; else that of `RAY_ADDRESS`, else the one noted by an earlier
            `up`, else a head is started.
        tell: Is given what takes its time.

    Raises:
        UsageError: It is up already, on another cluster.
        ConfigError: The settings cannot be worked with.
        ClusterUnreachableError: The cluster does not answer, or does not start.
    """
    with attached_up(config, address, tell) as report:
        return report


@contextmanager
def attached_up(
    config: WorkersConfig, address: str | None, tell: Callable[[str], None]
) -> Generator[UpReport]:
    """Do what `up` does, and stay attached to the cluster; other `up`s and `down`s wait meanwhile.

    Args:
        address: As `up`.
        tell: As `up`.

    Raises:
        UsageError, ConfigError, ClusterUnreachableError: As `up`.
    """
    _check_kinds(config)
    check_targets(config)
    # What cannot run is said here, and not in the log of an actor.
    configured_schedules(config)
    address = asked_address(address)
    with alone(config), Store.open(config.paths.store_url) as store:
        noted = _still_there(config)
        started = address is None and noted is None
        if address is not None and not (noted and is_same(address, noted.address or "")):
            cluster = _given(address)
        else:
            cluster = noted or _started(config, store.store_id, tell)
        use_token(cluster.auth_mode, cluster.token_path)
        try:
            with connected(config, cluster.address):
                cluster = replace(_noted_as(cluster, noted), dashboard=dashboard_url())
                actors = ensure_actors(config, store.store_id)
                note_cluster(config, cluster)
                yield _report(store, cluster, actors, started_head=started)
        except WorkerError:
            if started:
                _end(config, cluster)
            raise


def _check_kinds(config: WorkersConfig) -> None:
    for kind, most in config.jobs.concurrency.items():
        if kind not in KINDS:
            raise ConfigError(
                f"jobs.concurrency names the kind {kind!r}, which nobody works on",
                hint=f"the kinds are {' and '.join(KINDS)}",
            )
        if most < 0:
            raise ConfigError(
                f"jobs.concurrency of {kind} is {most}",
                hint="0 lets its jobs wait; 1 or more works on them",
            )


def _still_there(config: WorkersConfig) -> NotedCluster | None:
    """Return the noted cluster; what is left of a head that is of no use is ended first."""
    noted = noted_cluster(config)
    if noted is None or noted.head is None:
        return noted
    if noted.head.is_elsewhere:
        raise UsageError(
            f"it is up already, on the machine {noted.head.owner.host}",
            hint=f"`lexigram-ray down` there; if that machine is gone, remove {note_path(config)}",
        )
    # One without an address may still be starting.
    is_of_use = noted.head.is_whole() if noted.address else noted.head.is_running()
    if not is_of_use:
        _end(config, noted)
        return None
    if noted.address is None:
        # An earlier `up` was interrupted while its head was starting.
        return replace(noted, address=address_of(noted.head, config.paths.logs))
    return noted


def _given(address: str) -> NotedCluster:
    return NotedCluster(
        address=address,
        auth_mode=os.environ.get(MODE),
        token_path=os.environ.get(TOKEN_PATH),
    )


def _started(config: WorkersConfig, store_id: str, tell: Callable[[str], None]) -> NotedCluster:
    token_path = ensure_token()
    tell("starting Ray on this machine")
    mode = os.environ.get(MODE, DEFAULT_MODE)
    starting = NotedCluster(address=None, auth_mode=mode, token_path=token_path)
    try:
        return _with_head(config, starting, start_head(store_id, config.paths.logs))
    except PortTakenError:
        any_port = start_head(store_id, config.paths.logs, dashboard_port=0)
        return _with_head(config, starting, any_port)


def _with_head(config: WorkersConfig, cluster: NotedCluster, head: Head) -> NotedCluster:
    starting = replace(cluster, head=head)
    # Before it is up, so that it is found whatever becomes of this process.
    note_cluster(config, starting)
    try:
        return replace(starting, address=address_of(head, config.paths.logs))
    except WorkerError:
        _end(config, starting)
        raise


def _noted_as(cluster: NotedCluster, noted: NotedCluster | None) -> NotedCluster:
    """Return the note of the cluster that this process is attached to.

    Raises:
        UsageError: Another one is noted.
    """
    address = str(ray.get_runtime_context().gcs_address)
    if noted is None:
        return cluster if cluster.head else replace(cluster, address=address)
    if not is_same(noted.address or "", address):
        raise UsageError(
            f"it is up already, on {noted.address}",
            hint="`lexigram-ray down` first: jobs go on from where they stop",
        )
    return noted


def _end(config: WorkersConfig, cluster: NotedCluster) -> None:
    if cluster.head is not None:
        end_head(cluster.head)
    forget_cluster(config)


def _report(
    store: Store,
    cluster: NotedCluster,
    actors: Mapping[type, Ensured],
    *,
    started_head: bool,
) -> UpReport:
    queue, dead_letters = actors[JobQueueActor], actors[DeadLetterActor]
    maintenance = actors.get(MaintenanceActor)
    resources = ray.cluster_resources()
    counts = store.counts()
    return UpReport(
        address=cluster.address or "",
        dashboard=cluster.dashboard,
        started_head=started_head,
        started_queue=queue.started,
        queue=queue.state,
        started_dead_letters=dead_letters.started,
        dead_letters=dead_letters.state,
        started_maintenance=maintenance is not None and maintenance.started,
        maintenance=None if maintenance is None else maintenance.state,
        nodes=sum(bool(node["Alive"]) for node in ray.nodes()),
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        pending=counts.get(JobStatus.PENDING, 0),
        running=counts.get(JobStatus.RUNNING, 0),
    )
