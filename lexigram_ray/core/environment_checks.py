"""What of a configuration does not fit where the program is deployed.

The checks here are functions of the settings alone. Those that look at the machine (its file
systems, its models) belong to layers above: `_LOOKS` names their module, as `maintenance.tasks`
names the functions of users, because nothing here may import what is above.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, cast

from lexigram_ray.core.environment import ConfigIssue, Environment
from lexigram_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig

EXPOSED = (Environment.PRODUCTION, Environment.STAGING)
"""Where others than the one who configured it use it."""

_LOOKS = "lexigram_ray.jobs.environment_looks"


def issues_of(
    config: WorkersConfig, env: Environment | str | None = None, *, nodes: int = 1
) -> list[ConfigIssue]:
    """Return what does not fit, errors first.

    Args:
        config: Is checked.
        env: Where it is to run; as `config.env` says, or else development.
        nodes: Of the cluster that it is to run on.

    Raises:
        ConfigError: There is no such environment.
    """
    environment = _environment(env or config.env or Environment.DEVELOPMENT)
    found = [
        *_store(config, environment, nodes),
        *_loopback(config, environment),
        *_allowed_roots(config, environment),
        *_looks()(config, environment),
    ]
    return sorted(found, key=lambda issue: issue.severity != "error")


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from its own machine alone. Asks no name server."""
    if host.lower() in ("localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _environment(name: str) -> Environment:
    try:
        return Environment(name)
    except ValueError as error:
        known = ", ".join(Environment)
        raise ConfigError(f"unknown environment {name!r}", hint=f"one of {known}") from error


def _store(config: WorkersConfig, env: Environment, nodes: int) -> Iterator[ConfigIssue]:
    is_sqlite = config.paths.store_url.startswith("sqlite")
    if is_sqlite and nodes > 1:
        yield ConfigIssue(
            field="store_url",
            message=f"the job store is a SQLite file, which {nodes} nodes cannot share",
            suggestion="set store_url to a PostgreSQL database",
        )
    elif is_sqlite and env in EXPOSED:
        yield ConfigIssue(
            field="store_url",
            message="the job store is a SQLite file: it serves one machine, and is lost with it",
            severity="warning",
            suggestion="set store_url to a PostgreSQL database, or back the file up",
        )
    if nodes > 1 and config.data_uri is None:
        yield ConfigIssue(
            field="data_uri",
            message=f"collections lie in the state directory, which {nodes} nodes may not share",
            suggestion="set data_uri to a folder that all nodes mount",
        )


def _loopback(config: WorkersConfig, env: Environment) -> Iterator[ConfigIssue]:
    if env in EXPOSED and is_loopback(config.service.host):
        yield ConfigIssue(
            field="service.host",
            message=f"the service listens at {config.service.host}: no other machine reaches it",
            severity="warning",
            suggestion="set service.host to this machine's address, or put a proxy before it",
        )


def _allowed_roots(config: WorkersConfig, env: Environment) -> Iterator[ConfigIssue]:
    if env in EXPOSED and config.allowed_roots is None:
        yield ConfigIssue(
            field="allowed_roots",
            message="unset: every path that this user may read can be ingested",
            severity="warning",
            suggestion="set allowed_roots to the folders that documents lie in",
        )


def _looks() -> Callable[[WorkersConfig, Environment], Iterator[ConfigIssue]]:
    return cast(
        "Callable[[WorkersConfig, Environment], Iterator[ConfigIssue]]",
        import_module(_LOOKS).looks_of,
    )
