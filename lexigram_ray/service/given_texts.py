"""Texts of a request as a table, so that they are staged like those of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from lexigram_ray.ingestion.table_metadata import json_of_fields
from lexigram_ray.ingestion.table_rows import TITLE, TextRows
from lexigram_ray.service.models.embedding_jobs import GivenText

SOURCE = "http"
"""What rows say of where they came from: there is no file that could be read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenTexts:
    """A table of the texts of one request; see `TextTable`."""

    texts: Sequence[GivenText]

    @property
    def source(self) -> str:
        """Where the texts came from."""
        return SOURCE

    @property
    def text_column(self) -> str:
        """The column that is embedded."""
        return "text"

    @property
    def id_column(self) -> str:
        """The column of the ids."""
        return "id"

    def rows(self) -> Iterator[TextRows]:
        """Read the rows, all at once: they are here already."""
        batch = pa.record_batch(
            {
                "text": pa.array([each.text for each in self.texts], pa.string()),
                "id": pa.array([each.id for each in self.texts], pa.string()),
                TITLE: pa.array([_title(each) for each in self.texts], pa.string()),
            }
        )
        metadata = [json_of_fields(each.metadata) for each in self.texts]
        yield TextRows(batch=batch, first_row=0, rest=pa.array(metadata, pa.string()))


def _title(text: GivenText) -> str:
    title = text.metadata.get(TITLE)
    return title if isinstance(title, str) else ""
