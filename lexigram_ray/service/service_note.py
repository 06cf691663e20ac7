"""`<state>/service.json`: the service that `serve` has started, for the commands after it.

Free of Ray, so that a command that needs no cluster does not pay for looking.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.embedding.json_file import write_object
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.runtime.note_file import read_note

NAME = "service.json"
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to be told apart
"""Hosts that mean all addresses, and one of them to ask at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedService:
    """A service as it was started.

    Attributes:
        host: Where it listens.
        settings_key: Tells one configuration from another.
        started_serve: Whether Ray Serve was started for it, and ends with it.
        started_cluster: Whether the actors, and Ray where it was not there, were started for it.
        watcher: The `serve` that stays with it; None where it was started to go on by itself.
    """

    host: str
    port: int
    settings_key: str
    started_serve: bool
    started_cluster: bool
    watcher: Owner | None

    @property
    def url(self) -> str:
        """Where it answers, as seen from this machine."""
        return url_at(self.host, self.port)

    @property
    def is_watched(self) -> bool:
        """Whether a `serve` stays with it, or may do so where that cannot be seen from here."""
        return self.watcher is not None and not self.watcher.is_gone()


def url_at(host: str, port: int) -> str:
    """Return where a service answers that listens at a host, as seen from its machine."""
    asked = EVERY_ADDRESS.get(host, host).strip("[]")
    return f"http://[{asked}]:{port}" if ":" in asked else f"http://{asked}:{port}"


def service_note_path(config: WorkersConfig) -> Path:
    """Return where the note is."""
    return config.paths.root / NAME


def noted_service(config: WorkersConfig) -> NotedService | None:
    """Return what `serve` has noted last; the service may be gone since.

    Raises:
        UsageError: The note cannot be read.
    """
    return read_note(service_note_path(config), _service_of, what="service", by="serve")


def note_service(config: WorkersConfig, service: NotedService) -> None:
    """Write the note; readers see the old or the new one."""
    write_object(service_note_path(config), asdict(service))


def forget_service(config: WorkersConfig) -> None:
    """Remove the note."""
    with suppress(FileNotFoundError):
        service_note_path(config).unlink()


def _service_of(raw: dict[str, Any]) -> NotedService:
    watcher = raw.pop("watcher")
    return NotedService(**raw, watcher=Owner(**watcher) if watcher else None)
