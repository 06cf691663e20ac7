"""What the calls return: numbers, problems, hits, and how a notebook shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from lexigram_ray.jobs.embed_report import EmbedReport
from lexigram_ray.notebook.cards import embed_card, hits_table
from lexigram_ray.notebook.run_result import RunResult

if TYPE_CHECKING:
    import pandas as pd

    from lexigram_ray.core.protocols import EmbeddingProvider
    from lexigram_ray.jobs.searching import SearchReport
    from lexigram_ray.vectors.search import Hit

HITS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("text", pa.string()),
        pa.field("document_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("title", pa.string()),
        pa.field("page", pa.int32()),
        pa.field("chunk_index", pa.int32()),
        pa.field("char_start", pa.int64()),
        pa.field("char_end", pa.int64()),
        pa.field("metadata", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, repr=False)
class EmbedResult(RunResult[EmbedReport]):
    """How an embedding ended.

    Attributes:
        report: All that is known of it; `report.to_dict()` is what `--json` prints.
    """

    _provider: EmbeddingProvider | None = field(default=None, repr=False)

    @property
    def read(self) -> int:
        """Texts that were given: `embedded + cached + failed`."""
        return self.report.texts.read

    @property
    def embedded(self) -> int:
        """Texts that the model embedded."""
        return self.report.texts.embedded

    @property
    def cached(self) -> int:
        """Texts whose vectors were known, or that the collection held already."""
        return self.report.texts.cached

    @property
    def failed(self) -> int:
        """Texts that could not be embedded; see `problems`."""
        return self.report.texts.failed

    def _made_by(self) -> EmbeddingProvider | None:
        return self._provider

    def _counts(self) -> dict[str, int]:
        return {
            "read": self.read,
            "embedded": self.embedded,
            "cached": self.cached,
            "failed": self.failed,
        }

    def _repr_html_(self) -> str:
        return embed_card(self.report)


@dataclass(frozen=True, slots=True, repr=False)
class SearchResult:
    """The hits of a search, best first: a sequence of them.

    Attributes:
        report: All that is known of it; `report.to_dict()` is what `--json` prints.
    """

    report: SearchReport

    @property
    def hits(self) -> tuple[Hit, ...]:
        """Best first; a higher score is better."""
        return self.report.hits

    @property
    def took_ms(self) -> float:
        """Milliseconds for embedding the query and searching; loading a model not counted."""
        return self.report.took_ms

    def to_arrow(self) -> pa.Table:
        """Return the hits as a table; `metadata` is JSON, as in the collection."""
        rows = [
            hit.to_dict() | {"metadata": json.dumps(hit.metadata, ensure_ascii=False)}
            for hit in self.hits
        ]
        return pa.Table.from_pylist(rows, schema=HITS_SCHEMA)

    def to_pandas(self) -> pd.DataFrame:
        """Return the hits as a pandas frame."""
        return self.to_arrow().to_pandas()

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __getitem__(self, place: int) -> Hit:
        return self.hits[place]

    def __repr__(self) -> str:
        report = self.report
        return (
            f"SearchResult({report.query!r}, collection={report.collection!r}, "
            f"mode={report.mode!r}, hits={len(report.hits)}, took_ms={report.took_ms:.1f})"
        )

    def _repr_html_(self) -> str:
        return hits_table(self.report)
