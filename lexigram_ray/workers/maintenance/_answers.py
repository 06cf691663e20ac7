"""What a handler's answer says of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Integral
from typing import Any, cast

from lexigram_ray.jobs.redaction import MOST_OF_AN_ERROR, bounded, error_text, redacted
from lexigram_ray.maintenance.duty import DutyReport
from lexigram_ray.workers.types import MaintenanceResult

PROCESSED, DELETED, METADATA = "items_processed", "items_deleted", "metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is kept of an answer.

    Attributes:
        metadata: All that it said besides the two numbers.
    """

    items_processed: int = 0
    items_deleted: int = 0
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


def answer_of(value: object) -> Answer:
    """Read what a handler returned.

    Args:
        value: A dict with any of `items_processed`, `items_deleted`, `metadata` and whatever else,
            which is kept beside the metadata; a number of items processed; the report of a duty;
            another run's result. Anything else says nothing.
    """
    if isinstance(value, MaintenanceResult):
        return Answer(
            items_processed=value.items_processed,
            items_deleted=value.items_deleted,
            metadata=dict(value.metadata),
        )
    if isinstance(value, DutyReport):
        return Answer(metadata=metadata_of(value))
    if isinstance(value, Mapping):
        return _of_mapping(cast("Mapping[Any, Any]", value))
    return Answer(items_processed=_number(value) or 0)


def metadata_of(report: DutyReport) -> dict[str, Any]:
    """Return a duty's figures by their names, its lines, and its faults where there are any."""
    said: dict[str, Any] = dict(report.figures) | {"lines": list(report.lines)}
    if report.faults:
        said["faults"] = [asdict(fault) for fault in report.faults]
    return said


def words_of(error: BaseException) -> str:
    """Return what a failed run says: the error's own words with the way out, without secrets.

    One that says little by itself gets its type's name.
    """
    if isinstance(error, LookupError) or not str(error).strip():
        return error_text(error)
    said = redacted(str(error))
    hint = getattr(error, "hint", None)
    if isinstance(hint, str) and hint:
        said = f"{said} ({hint})"
    return bounded(said, MOST_OF_AN_ERROR)


def _of_mapping(said: Mapping[Any, Any]) -> Answer:
    numbers: dict[str, int] = {}
    more: dict[str, Any] = {}
    for key, value in said.items():
        number = _number(value) if key in (PROCESSED, DELETED) else None
        if number is not None:
            numbers[key] = number
        elif key == METADATA and isinstance(value, Mapping):
            more |= cast("Mapping[str, Any]", value)
        elif value is not None or key not in (PROCESSED, DELETED, METADATA):
            more[str(key)] = value
    return Answer(
        items_processed=numbers.get(PROCESSED, 0),
        items_deleted=numbers.get(DELETED, 0),
        metadata=more,
    )


def _number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None
