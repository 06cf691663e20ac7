"""Whether the service that `serve` has started answers, as `status` shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.service.service_note import noted_service

PATIENCE_SECONDS = 3.0


class Readiness(StrEnum):
    """How a service answers: it takes requests, none now, or nothing at all comes of it."""

    READY = "ready"
    NOT_READY = "not_ready"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """A service that was started for a state directory.

    Attributes:
        url: Where it answers, as seen from this machine.
    """

    url: str
    readiness: Readiness

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


def _asked(url: str) -> Readiness:
    # Only where there is a service: it takes longer to import than all the rest of a status.
    import httpx

    try:
        status = httpx.get(f"{url}/readyz", timeout=PATIENCE_SECONDS, trust_env=False).status_code
    except httpx.HTTPError:
        return Readiness.SILENT
    # Anything else is no answer of the service's.
    return {200: Readiness.READY, 503: Readiness.NOT_READY}.get(status, Readiness.SILENT)
