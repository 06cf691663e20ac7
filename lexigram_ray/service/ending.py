"""Ending the service: not ready first, then what is under way, then what was started for it."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ray import serve
from ray.serve.exceptions import RayServeException

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ClusterUnreachableError, WorkerError
from lexigram_ray.runtime.actor_names import kill_actor, names_in_use
from lexigram_ray.runtime.cluster import connected
from lexigram_ray.runtime.cluster_file import NotedCluster, noted_cluster
from lexigram_ray.runtime.down import down
from lexigram_ray.runtime.token_auth import use_token
from lexigram_ray.runtime.warm import warm_key
from lexigram_ray.service.deployment import APPLICATION
from lexigram_ray.service.drain_note import LOOK_SECONDS, forget_ending, note_ending
from lexigram_ray.service.haproxy import haproxy_folder
from lexigram_ray.service.served_models import configured_model
from lexigram_ray.service.service_note import (
    NotedService,
    forget_service,
    noted_service,
    service_note_path,
)

SLACK_SECONDS = 60.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEnd:
    """What was ended.

    Attributes:
        was_up: Whether a service was noted.
        url: Where it answered.
        ended_serve: Whether Ray Serve has ended, because it was started for the service.
        ended_cluster: Whether the actors, and the head that was started for them, have ended.
        given_back: Ids of jobs that stopped at a safe point, and wait for the next `up`.
    """

    was_up: bool = False
    url: str | None = None
    ended_serve: bool = False
    ended_cluster: bool = False
    given_back: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return what `serve down --json` prints."""
        return asdict(self)


def end_service(
    config: WorkersConfig, tell: Callable[[str], None], *, keep_cluster: bool = False
) -> ServiceEnd:
    """End the service of this state: requests under way end well, as far as they are in time.

    Args:
        tell: Is given what is waited for.
        keep_cluster: Leave the actors, even if they were started for it.

    Raises:
        ClusterUnreachableError: The cluster does not answer.
        WorkerError: Requests under way, or processes, do not end.
    """
    noted = noted_service(config)
    if noted is None:
        return ServiceEnd()
    cluster = noted_cluster(config)
    ended_serve = False
    if cluster is not None and cluster.address is not None and cluster.is_there():
        ended_serve = _drained(config, noted, cluster, tell)
    # Of an end that was itself ended at once, the note is still there.
    forget_ending(config)
    forget_service(config)
    ended = down(config, tell) if noted.started_cluster and not keep_cluster else None
    return ServiceEnd(
        was_up=True,
        url=noted.url,
        ended_serve=ended_serve,
        ended_cluster=ended is not None and ended.was_up,
        given_back=ended.given_back if ended else (),
    )


def end_on_cluster(config: WorkersConfig, noted: NotedService, *, seconds: float) -> bool:
    """End the service on the cluster that this process is attached to, its embedders, and Serve.

    Args:
        seconds: What requests under way have; Serve itself ends them then.

    Returns:
        Whether Serve has ended: it was started for the service, and nobody else uses it.

    Raises:
        WorkerError: It does not end.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        serve.delete(APPLICATION, _blocking=False)
    except RayServeException:
        return True
    deadline = time.monotonic() + seconds + SLACK_SECONDS
    while APPLICATION in serve.status().applications:
        if time.monotonic() > deadline:
            raise WorkerError(
                f"the service has not ended after {seconds + SLACK_SECONDS:.0f} s",
                hint="`serve shutdown` ends Ray Serve, `lexigram-ray down` Ray itself",
            )
        time.sleep(POLL_SECONDS)
    _end_embedders(config)
    if not noted.started_serve or serve.status().applications:
        return False
    serve.shutdown()
    shutil.rmtree(haproxy_folder(config.paths.root), ignore_errors=True)
    return True


def _end_embedders(config: WorkersConfig) -> None:
    # They outlive the replicas, so that the next one finds them; now there is no next one.
    try:
        key = warm_key(config, configured_model(config).recipe)
    except WorkerError:
        # Of a model that cannot be found, there is none.
        return
    for name in names_in_use():
        if f":{key}:" in name:
            kill_actor(name)


def _drained(
    config: WorkersConfig,
    noted: NotedService,
    cluster: NotedCluster,
    tell: Callable[[str], None],
) -> bool:
    service = config.service
    # Whoever reads the note late must still be told in time.
    drain = service.drain_seconds + LOOK_SECONDS if service.drain_seconds else 0.0
    began = time.monotonic()
    note_ending(config, drain + service.grace_seconds + SLACK_SECONDS)
    try:
        tell(f"the service is not ready any more; it takes new requests for {drain:g} s")
        use_token(cluster.auth_mode, cluster.token_path)
        with connected(config, cluster.address):
            time.sleep(max(0.0, began + drain - time.monotonic()))
            tell(f"requests under way have {service.grace_seconds:g} s")
            return end_on_cluster(config, noted, seconds=service.grace_seconds)
    except ClusterUnreachableError as error:
        if cluster.head is None:
            raise ClusterUnreachableError(
                f"the service on {cluster.address} cannot be ended: {error.message}",
                hint="if that cluster is gone for good, remove " + str(service_note_path(config)),
            ) from error
        tell(f"the service could not be asked to end: {error.message}")
        return False
    finally:
        forget_ending(config)
