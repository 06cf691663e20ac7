"""Chunks of other code as rows: whatever their shape, and the same row for the same chunk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID

import pytest

from lexigram_ray.core.errors import UsageError
from lexigram_ray.jobs.chunk_rows import chunk_dict, chunk_rows, table_of_chunks


@dataclass
class Chunk:
    text: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    score: float | None = None


class WithId(Chunk):
    id = UUID(int=9)


def ids(*chunks: object) -> list[str]:
    return [row.id for row in chunk_rows(chunks)]


def test_own_ids_are_kept_wherever_they_stand() -> None:
    assert ids(
        WithId("a"),
        {"id": 3, "text": "b"},
        Chunk("c", {"id": "m"}),
        Chunk("d", {"document_id": "doc", "chunk_index": 4}),
        {"text": "e", "document_id": "doc", "index": 5},
    ) == [str(UUID(int=9)), "3", "m", "doc:4", "doc:5"]


def test_a_chunk_without_an_id_is_known_by_what_it_says() -> None:
    first, other, same, plain = ids(
        Chunk("a", {"x": 1, "y": 2}), Chunk("a", {"x": 2}), Chunk("a", {"y": 2, "x": 1}), "a"
    )
    assert first != other
    assert same == f"{first}-2"
    assert plain == ids("a")[0] != first
    assert ids({"text": "a", "metadata": {"x": 1, "y": 2}}) == [first]


def test_a_chunks_place_in_its_document_is_kept() -> None:
    (row,) = chunk_rows(
        [{"text": "a", "page": 3, "headings": ["h"], "document_id": "d", "index": 1}]
    )
    assert (row.document_id, row.chunk_index, row.page, row.headings) == ("d", 1, 3, ["h"])


def test_a_dictionarys_further_values_are_its_metadata() -> None:
    (row,) = chunk_rows([{"text": "a", "lang": "en"}])
    assert row.metadata == {"lang": "en"}


def test_a_queues_task_holds_text_metadata_and_the_id_if_there_is_one() -> None:
    assert chunk_dict(0, Chunk("a", {"k": 1})) == {"text": "a", "metadata": {"k": 1}}
    assert chunk_dict(0, WithId("a")) == {"text": "a", "metadata": {}, "id": str(UUID(int=9))}
    # What comes back from the queue is the same row.
    assert ids(chunk_dict(0, Chunk("a", {"k": 1}))) == ids(Chunk("a", {"k": 1}))


def test_a_double_is_only_its_text() -> None:
    double = MagicMock(text="a", metadata={})
    assert ids(double) == ids("a")
    (row,) = chunk_rows([double])
    assert (row.document_id, row.title, row.page) == (None, None, None)


@pytest.mark.parametrize("chunk", [object(), 7, {"metadata": {}}, MagicMock()])
def test_what_has_no_text_is_refused_by_its_place(chunk: object) -> None:
    with pytest.raises(UsageError, match="chunk 1 "):
        chunk_rows(["a", chunk])


def test_nothing_is_no_job() -> None:
    with pytest.raises(UsageError, match="no chunks"):
        table_of_chunks([])
