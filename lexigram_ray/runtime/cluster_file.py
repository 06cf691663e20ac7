"""`<state>/cluster.json`: the cluster that `up` has started or found, for the commands after it.

Free of Ray, so that a command that needs no cluster does not pay for looking.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError
from lexigram_ray.runtime.head import LOOPBACK, Head
from lexigram_ray.runtime.token_auth import use_token

NAME = "cluster.json"
LOCK = "cluster.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedCluster:
    """A cluster that other commands attach to.

    Attributes:
        address: `host:port`; None while a head is starting.
        auth_mode: Ray's `RAY_AUTH_MODE`, where it was set or chosen.
        token_path: Ray's `RAY_AUTH_TOKEN_PATH`, where it was set.
        head: None for a cluster that ran before `up`.
    """

    address: str | None
    auth_mode: str | None = None
    token_path: str | None = None
    head: Head | None = None


def note_path(config: WorkersConfig) -> Path:
    """Return where the note is."""
    return config.paths.root / NAME


def noted_cluster(config: WorkersConfig) -> NotedCluster | None:
    """Return what `up` has noted last; the cluster may be gone since.

    Raises:
        UsageError: The note cannot be read.
    """
    path = note_path(config)
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        head = raw.pop("head")
        return NotedCluster(**raw, head=Head(**head) if head else None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{path} is no note of a cluster: {error}",
            hint="remove that file, then run `lexigram-ray up` again",
        ) from error


def wanted_address(config: WorkersConfig, address: str | None) -> str | None:
    """Return the cluster to attach to: asked for, started in, or noted by `up`; None for one's own.

    Ray sets `RAY_ADDRESS` for the entrypoint of `ray job submit`. The noted one counts as long as
    it has not ended; this process shows its token from then on.

    Raises:
        UsageError: The note cannot be read.
    """
    asked = address or os.environ.get("RAY_ADDRESS") or None
    noted = noted_cluster(config)
    if noted is None or noted.address is None:
        return asked
    if asked is None and noted.head is not None and not noted.head.is_whole():
        return None
    if asked is not None and not is_same(asked, noted.address):
        return asked
    use_token(noted.auth_mode, noted.token_path)
    return noted.address


def is_same(one: str, other: str) -> bool:
    """Whether two addresses are the same cluster's, however this machine's own is written."""
    return _plain(one) == _plain(other)


def note_cluster(config: WorkersConfig, cluster: NotedCluster) -> None:
    """Write the note; readers see the old or the new one."""
    path = note_path(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(cluster), indent=2), encoding="utf-8")
    new.replace(path)


def forget_cluster(config: WorkersConfig) -> None:
    """Remove the note."""
    with suppress(FileNotFoundError):
        note_path(config).unlink()


@contextmanager
def alone(config: WorkersConfig) -> Generator[None]:
    """Keep other `up`s and `down`s of this state waiting; the lock ends with the process."""
    path = config.paths.root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _plain(address: str) -> str:
    host, _, port = address.lower().rpartition(":")
    return f"{'127.0.0.1' if host == LOOPBACK.lower() else host}:{port}"
