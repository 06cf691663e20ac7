"""What of a configuration does not fit the machine: the checks that have to look at it.

`WorkersConfig.validate_for_environment` runs them, after those that need only the settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.environment import ConfigIssue, Environment
from lexigram_ray.core.environment_checks import EXPOSED, is_loopback
from lexigram_ray.core.errors import ConfigError, WorkerError
from lexigram_ray.jobs import filesystem

_SQLITE = "sqlite"
_TOKENS = "service.tokens"


def looks_of(config: WorkersConfig, env: Environment) -> Iterator[ConfigIssue]:
    """Yield what does not fit. Starts nothing, writes nothing, asks nothing of the network."""
    yield from _file_systems(config)
    yield from _model(config, env)
    yield from _tokens(config, env)


def _file_systems(config: WorkersConfig) -> Iterator[ConfigIssue]:
    url = config.paths.store_url
    is_sqlite = url.startswith(_SQLITE)
    yield from _network(config.state_dir, "state_dir", is_sqlite=is_sqlite)
    if is_sqlite and config.store_url is not None:
        from lexigram_ray.jobs.sqlite import location

        try:
            yield from _network(location(url), "store_url", is_sqlite=True)
        except ConfigError as error:
            yield ConfigIssue(field="store_url", message=error.message, suggestion=error.hint or "")


def _network(place: Path, field: str, *, is_sqlite: bool) -> Iterator[ConfigIssue]:
    lies_on = filesystem.filesystem_of(place)
    if not lies_on.is_network:
        return
    where = f"{place} lies on a network file system ({lies_on.kind} at {lies_on.mount_point})"
    if is_sqlite:
        yield ConfigIssue(
            field=field,
            message=f"{where}, where SQLite's locks do not hold",
            suggestion=f"set {field} to a place on this machine's own disk, or store_url to a "
            "PostgreSQL database",
        )
    else:
        yield ConfigIssue(
            field=field,
            message=f"{where}, where locks may not hold",
            severity="warning",
            suggestion=f"set {field} to a folder on this machine's own disk, and data_uri to the "
            "folder that is shared",
        )


def _model(config: WorkersConfig, env: Environment) -> Iterator[ConfigIssue]:
    from lexigram_ray.embedding.models import folder_at_hand

    if config.embedding.server.url is not None:
        return
    name = config.embedding.model
    try:
        folder = folder_at_hand(name)
    except WorkerError as error:
        yield ConfigIssue(
            field="embedding.model", message=error.message, suggestion=error.hint or ""
        )
        return
    if folder is None:
        yield ConfigIssue(
            field="embedding.model",
            message=f"model {name} is not on this machine: the first job would have to fetch it",
            severity="error" if env is Environment.PRODUCTION else "warning",
            suggestion="fetch it now, by any ingestion, or set embedding.model to the folder of a "
            "model, or embedding.server.url to a server's address",
        )


def _tokens(config: WorkersConfig, env: Environment) -> Iterator[ConfigIssue]:
    if not config.paths.store_url.startswith(_SQLITE):
        # Elsewhere, and whoever starts the service asks there.
        return
    from lexigram_ray.jobs.access_tokens import tokens_in

    try:
        tokens = tokens_in(config.paths.store_url)
    except WorkerError:
        # What is wrong with the store is said by whoever looks at that.
        return
    now = datetime.now(UTC)
    if any(token.is_valid_at(now) for token in tokens):
        return
    missing = "every token is revoked or expired" if tokens else "there is no token"
    make = "lexigram-ray tokens create NAME --scope operate"
    host = config.service.host
    if not is_loopback(host):
        yield ConfigIssue(
            field=_TOKENS,
            message=f"{missing}, and {host} can be reached from other machines: the service does "
            "not start",
            suggestion=f"{make}, or set service.host to 127.0.0.1",
        )
    elif tokens:
        yield ConfigIssue(
            field=_TOKENS,
            message=f"{missing}: nobody can use the service",
            severity="warning",
            suggestion=make,
        )
    elif env in EXPOSED:
        yield ConfigIssue(
            field=_TOKENS,
            message=f"{missing}: whoever has an account on this machine may do all",
            severity="warning",
            suggestion=make,
        )
