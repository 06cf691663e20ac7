"""How large, how old and how useful each cache is."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding.cache_contents import (
    CacheContents,
    bytes_on_disk,
    cache_paths,
    read_contents,
)
from lexigram_ray.embedding.cache_edge import cache_errors

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOfUse:
    """Texts looked up on a day, and those found."""

    day: dt.date
    lookups: int
    hits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFigures:
    """One model's cache.

    Attributes:
        model: Its name; empty where an earlier version of this package made the table, and then
            `revision` and `precision` are empty too.
        rows: Of the newest version.
        distinct: Texts among them.
        bytes: Of all its files on disk, old versions included.
        versions: How many are kept.
        created_first, created_last: Days; None where there are no rows.
        last_used: The latest day of use of any row.
        days: Look-ups by day, ascending.
    """

    model: str
    revision: str
    precision: str
    fingerprint: str
    rows: int
    distinct: int
    bytes: int
    versions: int
    created_first: dt.date | None
    created_last: dt.date | None
    last_used: dt.date | None
    days: tuple[DayOfUse, ...]

    @property
    def lookups(self) -> int:
        """Texts looked up, ever."""
        return sum(day.lookups for day in self.days)

    @property
    def hits(self) -> int:
        """Texts found, ever."""
        return sum(day.hits for day in self.days)

    @property
    def hit_rate(self) -> float | None:
        """The share of texts found; None where none was looked up."""
        return self.hits / self.lookups if self.lookups else None

    def to_dict(self) -> dict[str, object]:
        """Return a JSON object; days as `2026-01-31`."""
        dates = {
            name: day.isoformat() if day is not None else None
            for name, day in (
                ("created_first", self.created_first),
                ("created_last", self.created_last),
                ("last_used", self.last_used),
            )
        }
        rate = self.hit_rate
        return {
            **asdict(self),
            **dates,
            "lookups": self.lookups,
            "hits": self.hits,
            "hit_rate": round(rate, 4) if rate is not None else None,
            "days": [
                {"day": each.day.isoformat(), "lookups": each.lookups, "hits": each.hits}
                for each in self.days
            ],
        }


def cache_figures(root: Path) -> list[CacheFigures]:
    """Describe every cache in a folder; what cannot be read is named in the log and left out.

    Args:
        root: The cache's folder; may be missing.
    """
    figures: list[CacheFigures] = []
    for path in cache_paths(root):
        try:
            figures.append(_describe(read_contents(path)))
        except EmbeddingError as error:
            logger.warning("left out: the embedding cache %s: %s", path, error)
    return sorted(figures, key=lambda each: (each.model, each.fingerprint))


def _describe(contents: CacheContents) -> CacheFigures:
    spec, created = contents.spec, contents.created
    with cache_errors(contents.path):
        versions = len(contents.table.version_refs())
    return CacheFigures(
        model=contents.model,
        revision=spec.revision if spec is not None else "",
        precision=spec.precision if spec is not None else "",
        fingerprint=contents.fingerprint,
        rows=len(contents.keys),
        distinct=int(np.count_nonzero(contents.newest())),
        bytes=bytes_on_disk(contents.path),
        versions=versions,
        created_first=_date(int(created.min())) if len(created) else None,
        created_last=_date(int(created.max())) if len(created) else None,
        last_used=_date(int(contents.last_used.max())) if len(created) else None,
        days=tuple(
            DayOfUse(day=_date(day), lookups=lookups, hits=hits)
            for day, (lookups, hits) in sorted(contents.uses.counts.items())
        ),
    )


def _date(day: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=day)
