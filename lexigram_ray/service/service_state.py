"""Whether the service that `serve` has started answers, as `status` shows it."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError
from lexigram_ray.service.service_note import noted_service

PATIENCE_SECONDS = 3.0


class Readiness(StrEnum):
    """How a service answers: it takes requests, none now, or nothing at all comes of it."""

    READY = "ready"
    NOT_READY = "not_ready"
    SILENT = "silent"


SAID = {"up": Readiness.READY, "down": Readiness.NOT_READY}
"""What `/readyz` says."""

IN_WORDS = {
    Readiness.READY: "is ready",
    Readiness.NOT_READY: "is not ready",
    Readiness.SILENT: "does not answer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """A service that was started for a state directory.

    Attributes:
        url: Where it answers, as seen from this machine.
    """

    url: str
    readiness: Readiness

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


class ServiceLooker:
    """Asks the service again and again, and keeps what came of it last.

    Args:
        every_seconds: Between an answer and the next question.
    """

    def __init__(self, config: WorkersConfig, every_seconds: float) -> None:
        self._config = config
        self._every_seconds = every_seconds
        self._answer: ServiceState | None = None
        self._ending = threading.Event()
        # Not waited for: at the end it may be waiting for an answer.
        self._thread = threading.Thread(target=self._look_on, name="service", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()

    @property
    def answer(self) -> ServiceState | None:
        """None where there is no service, or none was asked yet."""
        return self._answer

    def _look_on(self) -> None:
        while not self._ending.is_set():
            # A note that cannot be read: `status` says it.
            with suppress(UsageError):
                self._answer = read_service(self._config)
            self._ending.wait(self._every_seconds)


def _asked(url: str) -> Readiness:
    # Only where there is a service: it takes longer to import than all the rest of a status.
    import httpx

    try:
        answer = httpx.get(f"{url}/readyz", timeout=PATIENCE_SECONDS, trust_env=False)
        said = answer.json()
    except (httpx.HTTPError, ValueError):
        return Readiness.SILENT
    # Anything else is no answer of the service's: another program may have its port since.
    status = said.get("status") if isinstance(said, dict) else None
    return SAID.get(status, Readiness.SILENT) if isinstance(status, str) else Readiness.SILENT
