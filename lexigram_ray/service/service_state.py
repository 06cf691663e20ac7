"""Whether the service that `serve` has started answers, as `status` shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from http import HTTPStatus

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError
from lexigram_ray.service.service_note import noted_service

PATIENCE_SECONDS = 3.0


class Readiness(StrEnum):
    """How a service answers: it takes requests, none now, or nothing at all comes of it."""

    READY = "ready"
    NOT_READY = "not_ready"
    SILENT = "silent"


IN_WORDS = {
    Readiness.READY: "is ready",
    Readiness.NOT_READY: "is not ready",
    Readiness.SILENT: "does not answer",
}
STYLES = {Readiness.READY: "", Readiness.NOT_READY: "yellow", Readiness.SILENT: "red"}
"""How a terminal shows those words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """A service that was started for a state directory.

    Attributes:
        url: Where it answers, as seen from this machine.
    """

    url: str
    readiness: Readiness

    @property
    def style(self) -> str:
        """What the words are painted with; empty for nothing."""
        return STYLES[self.readiness]

    @property
    def in_words(self) -> str:
        """`is ready`, `is not ready` or `does not answer`."""
        return IN_WORDS[self.readiness]

    def to_dict(self) -> dict[str, object]:
        """Return what `status --json` prints of it."""
        return asdict(self)


def read_service(config: WorkersConfig) -> ServiceState | None:
    """Ask the service that `serve` has noted; None where it has noted none.

    Raises:
        UsageError: The note cannot be read.
    """
    noted = noted_service(config)
    return None if noted is None else ServiceState(url=noted.url, readiness=_asked(noted.url))


@contextmanager
def service_watched(
    config: WorkersConfig, every_seconds: float
) -> Generator[Callable[[], ServiceState | None]]:
    """Ask the service again and again; yield what returns the last that came of it.

    None where there is no service, or none was asked yet.

    Args:
        every_seconds: Between an answer and the next question.
    """
    last: ServiceState | None = None
    ending = threading.Event()

    def look_on() -> None:
        nonlocal last
        while not ending.is_set():
            try:
                last = read_service(config)
            except UsageError:
                # The note cannot be read, which `status` says.
                last = None
            ending.wait(every_seconds)

    # Not waited for: at the end it may be waiting for an answer.
    threading.Thread(target=look_on, name="service", daemon=True).start()
    try:
        yield lambda: last
    finally:
        ending.set()


def _asked(url: str) -> Readiness:
    # Only where there is a service: it takes longer to import than all the rest of a status.
    import httpx

    try:
        answer = httpx.get(f"{url}/readyz", timeout=PATIENCE_SECONDS, trust_env=False)
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            # Its own, or that of a proxy that has no replica yet.
            return Readiness.NOT_READY
        said = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return Readiness.SILENT
    # Anything else is no answer of the service's: another program may have its port since.
    return Readiness.READY if said == {"status": "up"} else Readiness.SILENT
