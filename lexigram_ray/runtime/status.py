"""`status`: what is up, where, and what it works on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ClusterUnreachableError, ConfigError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.cluster_file import NotedCluster, noted_cluster
from lexigram_ray.runtime.token_auth import use_token

if TYPE_CHECKING:
    from lexigram_ray.runtime.own_actors import ActorState

MOST_RUNNING_SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node of the cluster, alive."""

    name: str
    address: str
    cpus: float
    gpus: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """The cluster that `up` has noted.

    Attributes:
        started_here: Whether `up` has started it, so that `down` ends it.
        problem: Why it cannot be asked; None where it answers.
        actors: The queue, the dead-letter and the maintenance actor, and the runners of jobs.
        has_queue: Whether somebody hands out what is submitted.
        has_dead_letters: Whether somebody retries what has failed.
        has_maintenance: Whether somebody does what is due; None where that is turned off.
    """

    address: str | None
    started_here: bool
    dashboard: str | None = None
    problem: str | None = None
    nodes: tuple[NodeState, ...] = ()
    actors: tuple[ActorState, ...] = ()
    has_queue: bool = False
    has_dead_letters: bool = False
    has_maintenance: bool | None = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything that `status` shows.

    Attributes:
        cluster: None where nothing is up.
        jobs: How many there are in each state.
        running: Those that are worked on, newest first.
    """

    cluster: ClusterState | None
    jobs: Mapping[JobStatus, int]
    running: tuple[Job, ...]

    @property
    def is_up(self) -> bool:
        """Whether there is a cluster that answers."""
        return self.cluster is not None and self.cluster.problem is None

    def to_dict(self) -> dict[str, object]:
        """Return what `status --json` prints."""
        return {
            "cluster": None if self.cluster is None else asdict(self.cluster),
            "jobs": {state.value: self.jobs.get(state, 0) for state in JobStatus},
            "running": [job.to_dict() for job in self.running],
        }


def read_status(config: WorkersConfig) -> Status:
    """Look at the store and at the cluster; nothing is started, and no store is made.

    Raises:
        StoreUnreachableError: The store cannot be opened.
    """
    store = Store.open_existing(config.paths.store_url)
    with nullcontext() if store is None else store:
        noted = noted_cluster(config)
        cluster = None if noted is None else _cluster(config, noted, store)
        if store is None:
            return Status(cluster=cluster, jobs=dict.fromkeys(JobStatus, 0), running=())
        running, _ = store.list_jobs(status=JobStatus.RUNNING, limit=MOST_RUNNING_SHOWN)
        return Status(cluster=cluster, jobs=store.counts(), running=tuple(running))


def _cluster(config: WorkersConfig, noted: NotedCluster, store: Store | None) -> ClusterState:
    started_here = noted.head is not None
    if (problem := _problem(noted)) is not None:
        return ClusterState(address=noted.address, started_here=started_here, problem=problem)
    use_token(noted.auth_mode, noted.token_path)
    from lexigram_ray.runtime.actor_names import letters_prefix, maintenance_prefix, queue_prefix
    from lexigram_ray.runtime.cluster import connected
    from lexigram_ray.runtime.own_actors import dashboard_url, states_of

    try:
        with connected(config, noted.address):
            actors = [] if store is None else states_of(store)
            store_id = "" if store is None else store.store_id
            return ClusterState(
                address=noted.address,
                started_here=started_here,
                dashboard=dashboard_url(),
                nodes=_nodes(),
                actors=tuple(actors),
                has_queue=_has(actors, queue_prefix(store_id)),
                has_dead_letters=_has(actors, letters_prefix(store_id)),
                has_maintenance=_has(actors, maintenance_prefix(store_id))
                if config.enable_maintenance
                else None,
            )
    except (ClusterUnreachableError, ConfigError) as error:
        return ClusterState(address=noted.address, started_here=started_here, problem=error.message)


def _has(actors: Iterable[ActorState], prefix: str) -> bool:
    return any(actor.name.startswith(prefix) for actor in actors)


def _problem(noted: NotedCluster) -> str | None:
    """Return why a cluster cannot be attached to, as far as this machine shows it."""
    head = noted.head
    if head is not None and not head.is_running():
        where = f" on this machine; it is on {head.owner.host}" if head.is_elsewhere else ""
        return f"its head process {head.owner.pid} is not running{where}"
    if noted.address is None:
        return "it is starting"
    if head is None or noted.is_there():
        return None
    return f"its sockets in {head.folder} are gone; `up` starts it anew"


def _nodes() -> tuple[NodeState, ...]:
    import ray

    alive: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]
    return tuple(
        NodeState(
            name=node["NodeManagerHostname"],
            address=node["NodeManagerAddress"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory_bytes=int(node["Resources"].get("memory", 0)),
        )
        for node in sorted(alive, key=lambda node: str(node["NodeManagerHostname"]))
    )
