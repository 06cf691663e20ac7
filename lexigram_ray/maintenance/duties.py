"""The built-in duties by name: what each is for, and when it runs unless configured otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lexigram_ray.maintenance.duty import Duty


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIn:
    """One duty that comes with the package.

    Attributes:
        name: Of the duty, of its module, of its schedule and of its section in the configuration.
        summary: What it does, in a line.
        cron: When it runs by default; exactly one of this and `interval_seconds`.
        timeout_seconds: When a run is killed.
    """

    name: str
    summary: str
    cron: str | None = None
    interval_seconds: float | None = None
    timeout_seconds: float = 300.0

    def load(self) -> Duty:
        """Import its module, and return its function `run`."""
        from importlib import import_module

        run: Duty = import_module(f"lexigram_ray.maintenance.{self.name}").run
        return run


_ALL = (
    BuiltIn(
        name="index_optimization",
        summary="compact collections and keep their indexes up to date",
        cron="17 * * * *",
        timeout_seconds=3600.0,
    ),
    BuiltIn(
        name="cache_cleanup",
        summary="remove cached vectors that nobody has used for long",
        cron="23 3 * * *",
        timeout_seconds=3600.0,
    ),
    BuiltIn(
        name="document_cleanup",
        summary="remove files, records and old versions that nothing needs any more",
        cron="43 3 * * *",
        timeout_seconds=3600.0,
    ),
    BuiltIn(
        name="metrics_rollup",
        summary="add what has ended to the figures by minute, hour and day",
        interval_seconds=60.0,
    ),
    BuiltIn(
        name="health_check",
        summary="look whether store, disk, collections, cluster and model are well",
        interval_seconds=300.0,
    ),
    BuiltIn(
        name="integrity_check",
        summary="compare every collection with the ledger, row by row",
        cron="3 4 * * 0",
        timeout_seconds=3600.0,
    ),
)

DUTIES: Mapping[str, BuiltIn] = MappingProxyType({duty.name: duty for duty in _ALL})
"""All of them, by name, in the order in which they are listed."""
