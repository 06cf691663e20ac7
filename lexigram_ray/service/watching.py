"""Staying with the service while it runs: whether it answers, and whether it is still ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ClusterUnreachableError
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.runtime.cluster_file import noted_cluster
from lexigram_ray.service.service_note import noted_service

ASK_SECONDS = 5.0
LOOK_SECONDS = 1.0
LOST_SECONDS = 120.0
"""A proxy that does not answer for so long does not come back by itself."""


def watch(config: WorkersConfig, stop: threading.Event, tell: Callable[[str], None]) -> None:
    """Return once it is to stop, or somebody else has ended the service.

    Args:
        tell: Is given what is amiss.

    Raises:
        ClusterUnreachableError: The cluster is gone, or the service answers no more.
    """
    answered, told = time.monotonic(), False
    with httpx.Client(timeout=ASK_SECONDS) as client:
        while not stop.wait(LOOK_SECONDS):
            noted, cluster = noted_service(config), noted_cluster(config)
            if noted is None or noted.watcher != Owner.current():
                tell("the service was ended, or taken over, by another command")
                return
            if cluster is None or not cluster.is_there():
                raise ClusterUnreachableError(
                    "Ray has ended under the service", hint="start it again with the same command"
                )
            now = time.monotonic()
            if _proxy_answers(client, noted.url):
                answered, told = now, False
            elif now - answered > LOST_SECONDS:
                raise ClusterUnreachableError(
                    f"the service does not answer at {noted.url}",
                    hint="`lexigram-ray serve down`, then the same command again",
                )
            elif not told:
                tell(f"{noted.url} does not answer; Ray Serve starts anew what has died")
                told = True


def _proxy_answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/-/healthz").status_code == 200
    except httpx.TransportError:
        return False
