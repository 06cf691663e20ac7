"""`<state>/cluster.json`: the cluster that `up` has started or found, for the commands after it.

Free of Ray, so that a command that needs no cluster does not pay for looking.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.runtime.head import LOOPBACK, Head
from lexigram_ray.runtime.note_file import read_note
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
        dashboard: Its URL; None where it has none, or while a head is starting.
    """

    address: str | None
    auth_mode: str | None = None
    token_path: str | None = None
    head: Head | None = None
    dashboard: str | None = None

    def is_there(self) -> bool:
        """Whether it has not ended, as far as this machine shows it."""
        return self.head is None or self.head.is_whole()


def note_path(config: WorkersConfig) -> Path:
    """Return where the note is."""
    return config.paths.root / NAME


def noted_cluster(config: WorkersConfig) -> NotedCluster | None:
    """Return what `up` has noted last; the cluster may be gone since.

    Raises:
        UsageError: The note cannot be read.
    """
    return read_note(note_path(config), _cluster_of, what="cluster", by="up")


def is_up(config: WorkersConfig) -> bool:
    """Return whether `up` has started what works on recorded jobs, and it has not ended since.

    Raises:
        UsageError: The note cannot be read.
    """
    noted = noted_cluster(config)
    return noted is not None and noted.is_there()


def asked_address(address: str | None) -> str | None:
    """Return the cluster that was asked for by name, or else by `RAY_ADDRESS`.

    Ray sets that for the entrypoint of `ray job submit`.
    """
    return address or os.environ.get("RAY_ADDRESS") or None


def wanted_address(config: WorkersConfig, address: str | None) -> str | None:
    """Return the cluster to attach to: asked for, started in, or noted by `up`; None for one's own.

    The noted one counts as long as it has not ended; this process shows its token from then on.

    Raises:
        UsageError: The note cannot be read.
    """
    asked = asked_address(address)
    noted = noted_cluster(config)
    if noted is None or noted.address is None:
        return asked
    if asked is None and not noted.is_there():
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
    from lexigram_ray.embedding.json_file import write_object

    write_object(note_path(config), asdict(cluster))


def forget_cluster(config: WorkersConfig) -> None:
    """Remove the note."""
    with suppress(FileNotFoundError):
        note_path(config).unlink()


@contextmanager
def alone(config: WorkersConfig) -> Generator[None]:
    """Keep other `up`s and `down`s of this state waiting; the lock ends with the process."""
    from lexigram_ray.embedding.locks import exclusive_lock

    path = config.paths.root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path):
        yield


def _cluster_of(raw: dict[str, Any]) -> NotedCluster:
    head = raw.pop("head")
    return NotedCluster(**raw, head=_head_of(head) if head else None)


def _head_of(raw: dict[str, Any]) -> Head:
    owner = Owner(**raw.pop("owner"))
    return Head(**raw, owner=owner)


def _plain(address: str) -> str:
    host, _, port = address.lower().rpartition(":")
    return f"{'127.0.0.1' if host == LOOPBACK.lower() else host}:{port}"
