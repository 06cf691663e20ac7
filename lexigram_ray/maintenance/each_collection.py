"""A duty that visits collections, one after the other: what is wrong with one stops no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import (
    CollectionNotFoundError,
    DiskFullError,
    LeaseLostError,
    MaintenanceError,
    UnreachableError,
    UsageError,
    WorkerError,
)
from lexigram_ray.maintenance.duty import DutyContext, DutyReport, Fault

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection
    from lexigram_ray.vectors.collections import Collections


def visit_collections(
    context: DutyContext,
    only: str | None,
    visit: Callable[[Collection], DutyReport],
    *,
    telling: str,
) -> DutyReport:
    """Visit collections, and put the reports together, the figures by collection.

    Args:
        only: The one that is visited; None visits all.
        visit: Is given each at its newest version.
        telling: What is done, such as `checking`.

    Raises:
        UsageError: There is no collection of the name `only`.
        LeaseLostError, UnreachableError, DiskFullError, MaintenanceError: As `visit` raised it.
    """
    from lexigram_ray.vectors.collections import Collections

    collections = Collections(context.config.paths.lancedb)
    if only is not None:
        collections.open(only)
    figures: dict[str, object] = {}
    lines: list[str] = []
    faults: list[Fault] = []
    for name in collections.names() if only is None else [only]:
        if context.should_stop():
            break
        context.tell(f"{telling} collection {name}")
        report = _visited(collections, name, visit)
        figures[name] = dict(report.figures)
        lines += report.lines
        faults += report.faults
    return DutyReport(figures={"collections": figures}, lines=lines, faults=faults)


def _visited(
    collections: Collections, name: str, visit: Callable[[Collection], DutyReport]
) -> DutyReport:
    try:
        return visit(collections.open(name))
    except (LeaseLostError, UnreachableError, DiskFullError, MaintenanceError):
        raise
    except CollectionNotFoundError:
        return DutyReport(figures={}, lines=[f"{name}: dropped meanwhile"])
    except UsageError as error:
        return DutyReport(figures={}, lines=[f"{name}: left alone: {error.message}"])
    except WorkerError as error:
        fault = Fault(name=f"collection {name}", detail=error.message, fix=error.hint or "")
        return DutyReport(figures={}, faults=[fault])
