"""`down`: jobs stop at a safe point, our actors end, and so does the head that `up` started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ClusterUnreachableError, ConfigError, UsageError
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.cluster import connected
from lexigram_ray.runtime.cluster_file import (
    NotedCluster,
    alone,
    forget_cluster,
    note_path,
    noted_cluster,
)
from lexigram_ray.runtime.head import end_head
from lexigram_ray.runtime.own_actors import Drained, drain
from lexigram_ray.runtime.token_auth import use_token


@dataclass(frozen=True, slots=True, kw_only=True)
class DownReport:
    """What `down` has ended.

    Attributes:
        address: Of the cluster; None where it had none yet.
        ended_head: Whether Ray was ended, because `up` had started it.
        processes: How many processes of the head there were.
        given_back: Ids of jobs that stopped at a safe point and wait now.
        killed: Ids of jobs that did not stop in time; the next `up` takes them over.
    """

    was_up: bool = False
    address: str | None = None
    ended_head: bool = False
    processes: int = 0
    given_back: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return what `down --json` prints."""
        return asdict(self)


def down(config: WorkersConfig, tell: Callable[[str], None]) -> DownReport:
    """End what `up` has started for this state.

    Args:
        tell: Is given what is waited for, and what went wrong on the way.

    Raises:
        UsageError: `up` has started it on another machine.
        ClusterUnreachableError: The cluster that was there before `up` does not answer.
        WorkerError: Processes of the head do not end.
    """
    with alone(config):
        noted = noted_cluster(config)
        if noted is None:
            return DownReport()
        _refuse_elsewhere(noted)
        drained = _drained(config, noted, tell)
        processes = 0
        if noted.head is not None:
            tell("ending Ray on this machine")
            processes = end_head(noted.head)
        forget_cluster(config)
        return DownReport(
            was_up=True,
            address=noted.address,
            ended_head=noted.head is not None,
            processes=processes,
            given_back=drained.given_back,
            killed=drained.killed,
        )


def _refuse_elsewhere(noted: NotedCluster) -> None:
    if noted.head is not None and noted.head.is_elsewhere:
        raise UsageError(
            f"it is up on the machine {noted.head.owner.host}", hint="run `lexigram-ray down` there"
        )


def _drained(config: WorkersConfig, noted: NotedCluster, tell: Callable[[str], None]) -> Drained:
    nothing = Drained(given_back=(), killed=())
    if noted.address is None or not noted.is_there():
        return nothing
    use_token(noted.auth_mode, noted.token_path)
    try:
        with connected(config, noted.address), Store.open(config.paths.store_url) as store:
            return drain(config, store, tell)
    except (ClusterUnreachableError, ConfigError) as error:
        if noted.head is None:
            raise ClusterUnreachableError(
                f"the actors on {noted.address} cannot be ended: {error.message}",
                hint=f"if that cluster is gone for good, remove {note_path(config)}",
            ) from error
        # Its jobs lose their owners with it, and are taken over by whoever comes next.
        tell(f"the actors could not be asked to stop: {error}")
        return nothing
