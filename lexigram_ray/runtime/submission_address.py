"""Where a cluster takes jobs: the URL of its dashboard, found within seconds or not at all."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

import httpx

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ClusterUnreachableError, UsageError
from lexigram_ray.runtime.cluster_file import NotedCluster, is_same, noted_cluster
from lexigram_ray.runtime.head import DASHBOARD_PORT
from lexigram_ray.runtime.token_auth import use_token

CONNECT_SECONDS = 5.0
VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Ray's own for the address of a dashboard, or of a cluster; the earlier one counts."""

_URLS = ("http://", "https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionAddress:
    """Where jobs are submitted.

    Attributes:
        url: The dashboard's, without a slash at its end.
        is_of_this_state: Whether it is the cluster that `up` has noted for this state directory,
            and its head runs on this machine.
    """

    url: str
    is_of_this_state: bool


def submission_address(config: WorkersConfig, address: str | None) -> SubmissionAddress:
    """Return where jobs are submitted; this process shows a noted cluster's token from then on.

    Args:
        address: Of a dashboard (`http://HOST:8265`) or of a cluster (`HOST:PORT`, `auto`); else
            that of Ray's variables, else the cluster that `up` has noted.

    Raises:
        UsageError: There is no address, or it is none.
        ClusterUnreachableError: Nothing answers there.
    """
    asked = address or next(filter(None, map(os.environ.get, VARIABLES)), None)
    noted = noted_cluster(config)
    if noted is not None and (noted.address is None or not noted.is_there()):
        noted = None
    if noted is not None and (asked is None or _is_of(noted, asked)):
        # Before Ray is imported: it reads the mode then.
        use_token(noted.auth_mode, noted.token_path)
        url = noted.dashboard or dashboard_of(noted.address or "")
        return SubmissionAddress(url=url, is_of_this_state=noted.head is not None)
    if asked is None:
        raise UsageError(
            "no cluster was named to submit to, and `lexigram-ray up` runs none for this state",
            hint=f"--address http://HOST:{DASHBOARD_PORT}, where the cluster's dashboard is; or "
            "`lexigram-ray up` first",
        )
    return SubmissionAddress(url=dashboard_of(asked), is_of_this_state=False)


def _is_of(noted: NotedCluster, asked: str) -> bool:
    """Whether an address, of its head or its dashboard, is a noted cluster's."""
    scheme, separator, place = asked.rstrip("/").rpartition("://")
    if not separator:
        return noted.address is not None and is_same(place, noted.address)
    noted_scheme, _, noted_place = (noted.dashboard or "").rpartition("://")
    return scheme == noted_scheme and is_same(place, noted_place)


def dashboard_of(address: str) -> str:
    """Return the URL of the dashboard at, or behind, an address.

    Raises:
        UsageError: It is no address.
        ClusterUnreachableError: Nothing answers there.
    """
    if address.startswith(_URLS):
        return address.rstrip("/")
    if address == "auto":
        return _asked_of_ray(address)
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise UsageError(
            f"{address} is no address that jobs are submitted to",
            hint=f"http://HOST:{DASHBOARD_PORT}, where the cluster's dashboard is",
        )
    _refuse_closed_port(address, host.strip("[]"), int(port))
    return f"http://{address}" if _speaks_http(address) else _asked_of_ray(address)


def _refuse_closed_port(address: str, host: str, port: int) -> None:
    # Ray's own clients try for minutes.
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return
    except OSError as error:
        raise ClusterUnreachableError(
            f"nothing answers at {address}: {error.strerror or error}",
            hint=f"--address http://HOST:{DASHBOARD_PORT}, where the cluster's dashboard is",
        ) from error


def _speaks_http(address: str) -> bool:
    try:
        httpx.get(f"http://{address}/api/version", timeout=CONNECT_SECONDS)
    except httpx.HTTPError:
        return False
    return True


def _asked_of_ray(address: str) -> str:
    """Ask a cluster at `host:port`, or with `auto` the one of this machine, for its dashboard."""
    from ray._private import ray_constants, services
    from ray._raylet import GcsClient  # pyright: ignore[reportAttributeAccessIssue]
    from ray.exceptions import RayError

    # Ray's own function for this takes 40 s where there is no answer.
    try:
        found = services.canonicalize_bootstrap_address_or_die(address)
        url = GcsClient(address=found).internal_kv_get(
            ray_constants.DASHBOARD_ADDRESS.encode(),
            ray_constants.KV_NAMESPACE_DASHBOARD,
            timeout=CONNECT_SECONDS,
        )
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise ClusterUnreachableError(
            f"no Ray cluster answers at {address}: {first_sentence(error)}",
            hint="check it with `ray status`; a cluster with token authentication needs "
            "RAY_AUTH_MODE=token and its token here too",
        ) from error
    if not url:
        raise ClusterUnreachableError(
            f"the Ray cluster at {address} runs no dashboard, and jobs are submitted through it",
            hint="start the head with `ray start --head --include-dashboard=true`",
        )
    return f"http://{url.decode()}"


def first_sentence(error: BaseException) -> str:
    """Return the beginning of what Ray says, which goes on with its documentation."""
    lines = str(error).strip().splitlines()
    return lines[0].partition(". ")[0] if lines else type(error).__name__
