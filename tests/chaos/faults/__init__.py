"""The scenarios of `make chaos`, each a module of this folder with a function `run`."""

from __future__ import annotations

from importlib import import_module

from tests.chaos.proof_types import Scenario

SCENARIOS = (
    "cluster_kills",
    "driver_kills",
    "raylet_kills",
    "restart",
    "parser_poison",
    "commit_kills",
    "stopped_writer",
    "two_jobs",
    "clock",
    "postgres_restarts",
    "full_disk",
    "bad_server",
)


def load(name: str) -> Scenario:
    """Import a scenario when its turn comes, and return its `run`."""
    return import_module(f"{__name__}.{name}").run
