"""A Ray cluster to work on: one of our own for the run, or one that is running already."""

from __future__ import annotations

import logging
import socket
from collections.abc import Generator
from contextlib import contextmanager

import ray
from ray.exceptions import AuthenticationError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ClusterUnreachableError, ConfigError
from lexigram_ray.jobs.filesystem import filesystem_of
from lexigram_ray.runtime.head import OBJECT_STORE_BYTES
from lexigram_ray.runtime.ray_metrics import measuring_while_attached

NAMESPACE = "lexigram_ray"
CONNECT_SECONDS = 5.0


@contextmanager
def connected(config: WorkersConfig, address: str | None) -> Generator[None]:
    """Attach to the cluster at `address`, or start one on this machine for the time being.

    Raises:
        ClusterUnreachableError: There is no cluster at the address, or it refuses us.
        ConfigError: The cluster has several nodes, and state lies on this one.
    """
    if ray.is_initialized():
        _refuse_unshared_state(config)
        with measuring_while_attached():
            yield
        return
    if address is None:
        _start_here()
    else:
        _attach(address)
    try:
        _refuse_unshared_state(config)
        with measuring_while_attached():
            yield
    finally:
        ray.shutdown()


def cluster_cpus() -> int:
    """Return the CPUs of the cluster, at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _start_here() -> None:
    try:
        ray.init(
            address="local",
            namespace=NAMESPACE,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except AuthenticationError as error:
        raise _no_token(error) from error
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise ClusterUnreachableError(
            f"Ray does not start on this machine: {_first_line(error)}",
            hint="check free memory and disk, and the logs in /tmp/ray/session_latest/logs",
        ) from error


def _attach(address: str) -> None:
    _refuse_closed_port(address)
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except AuthenticationError as error:
        raise _no_token(error) from error
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise ClusterUnreachableError(
            f"no Ray cluster answers at {address}: {_first_line(error)}",
            hint="check `ray status`; a cluster with token authentication needs "
            "RAY_AUTH_MODE=token and its token here too",
        ) from error


def _no_token(error: AuthenticationError) -> ClusterUnreachableError:
    return ClusterUnreachableError(
        f"Ray finds no token that it may use: {_first_line(error)}",
        hint="check RAY_AUTH_TOKEN_PATH: it must name a file that holds the cluster's token",
    )


def _refuse_closed_port(address: str) -> None:
    # Ray itself tries for minutes, and cannot be interrupted meanwhile.
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS):
            return
    except OSError as error:
        raise ClusterUnreachableError(
            f"no Ray cluster answers at {address}: {error.strerror or error}",
            hint="check the address with `ray status`, or leave --address out",
        ) from error


def _refuse_unshared_state(config: WorkersConfig) -> None:
    nodes = [node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]]
    if nodes == [socket.gethostname()]:
        return
    named = ", ".join(sorted(nodes))
    if config.paths.store_url.startswith("sqlite"):
        raise ConfigError(
            f"the job store is a SQLite file on this machine (`store_url` is unset or names one), "
            f"and the cluster's nodes are {named}",
            hint="set store_url to a PostgreSQL database and data_uri to a folder that all nodes "
            "share; or run on a cluster of this machine alone",
        )
    data = config.paths.lancedb.parent
    filesystem = filesystem_of(data)
    if not filesystem.is_network:
        raise ConfigError(
            f"`data_uri` is {data}, on a disk of this machine ({filesystem.kind} at "
            f"{filesystem.mount_point}), and the cluster's nodes are {named}",
            hint="set data_uri to a folder on a network file system that all nodes mount; or run "
            "on a cluster of this machine alone",
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
