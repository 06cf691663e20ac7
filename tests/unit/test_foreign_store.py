"""Stores of other code: whichever method they have, the rows are the same, and never twice."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import numpy as np
import pyarrow as pa
import pytest

from lexigram_ray.core.errors import UsageError, WorkerError
from lexigram_ray.core.result import Err
from lexigram_ray.ingestion.tables import table_of
from lexigram_ray.jobs.foreign_store import ForeignStore, is_foreign
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.jobs.staged import read_staged
from lexigram_ray.jobs.staging import stage
from lexigram_ray.jobs.text_executor import with_vectors

CHUNKS = [{"id": "a", "text": "one", "kind": 1}, {"id": "b", "text": "two", "kind": 2}]
VECTORS = [[1.0, 0.0], [0.0, 1.0]]


@pytest.fixture
def rows(tmp_path: Any) -> pa.Table:
    staged = stage(table_of(CHUNKS), tmp_path, on_progress=lambda _: None, keep_on=lambda: True)
    return with_vectors(read_staged(staged.path), np.array(VECTORS, np.float32), "job")


class AddTexts:
    """The reference's shape: no ids."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    async def add_texts(
        self,
        texts: list[str],
        embeddings: list[list[float]] | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        collection_name: str | None = None,
    ) -> None:
        self.given.append(locals() | {"self": None})


class Upsert(AddTexts):
    """Ids of its caller's, plain and synchronous."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, tuple[str, list[float], dict[str, Any]]] = {}

    def upsert(self, collection: str, ids: list[str], vectors: Any, texts: Any, metadata: Any):
        assert collection == "docs"
        self.rows |= dict(zip(ids, zip(texts, vectors, metadata, strict=True), strict=True))

    def delete_documents(self, collection_name: str, ids: list[str]) -> None:
        for row_id in ids:
            self.rows.pop(row_id, None)


class Collections:
    """Collections that are opened first, as the reference's contract has them."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}

    async def get_collection(self, name: str) -> Collections:
        assert name == "docs"
        return self

    async def upsert(self, records: list[Any]) -> None:
        self.records |= {record.id: record for record in records}


class OnlyCollections:
    """A store whose own `upsert` is that of its collections."""

    def __init__(self) -> None:
        self.opened = Collections()

    async def get_collection(self, name: str) -> Collections:
        return await self.opened.get_collection(name)


def write(store: object, rows: pa.Table, times: int = 1) -> list[int]:
    async def run() -> list[int]:
        foreign = ForeignStore(store)
        return [await foreign.write(rows, "docs") for _ in range(times)]

    return asyncio.run(run())


def test_the_references_store_gets_texts_vectors_and_metadata_with_the_id_in_it(
    rows: pa.Table,
) -> None:
    store = AddTexts()
    assert write(store, rows) == [2]
    (given,) = store.given
    assert given["texts"] == ["one", "two"]
    assert given["embeddings"] == VECTORS
    assert given["metadatas"] == [{"kind": 1, "id": "a"}, {"kind": 2, "id": "b"}]
    assert given["collection_name"] == "docs"


def test_a_store_that_only_adds_is_given_no_row_twice(rows: pa.Table) -> None:
    store = AddTexts()
    assert write(store, rows, times=2) == [2, 0]
    assert len(store.given) == 1


def test_a_store_that_takes_ids_gets_them_each_time(rows: pa.Table) -> None:
    store = Upsert()
    assert write(store, rows, times=2) == [2, 2]
    assert store.rows == {
        "a": ("one", [1.0, 0.0], {"kind": 1}),
        "b": ("two", [0.0, 1.0], {"kind": 2}),
    }


def test_a_store_of_collections_gets_records(rows: pa.Table) -> None:
    store = OnlyCollections()
    assert write(store, rows) == [2]
    record = store.opened.records["b"]
    assert (record.vector, record.metadata, record.content) == ([0.0, 1.0], {"kind": 2}, "two")


def test_a_double_is_called_as_the_reference_calls_it(rows: pa.Table) -> None:
    store = AsyncMock()
    write(store, rows)
    store.add_texts.assert_awaited_once()
    assert set(store.add_texts.call_args.kwargs) == {
        "texts",
        "embeddings",
        "metadatas",
        "collection_name",
    }


def test_a_store_that_answers_with_an_error_has_not_been_written_to(rows: pa.Table) -> None:
    store = AsyncMock()
    store.add_texts.return_value = Err("no space")

    async def run() -> int:
        foreign = ForeignStore(store)
        with pytest.raises(WorkerError, match="no space"):
            await foreign.write(rows, "docs")
        store.add_texts.return_value = None
        return await foreign.write(rows, "docs")

    assert asyncio.run(run()) == 2


def test_documents_are_deleted_where_the_store_can(rows: pa.Table) -> None:
    async def run(store: object) -> bool:
        foreign = ForeignStore(store)
        await foreign.write(rows, "docs")
        return await foreign.delete_documents("docs", ["a"])

    store = Upsert()
    assert asyncio.run(run(store))
    assert set(store.rows) == {"b"}
    assert not asyncio.run(run(AddTexts()))


def test_what_is_no_store_is_refused_with_a_way_out(rows: pa.Table) -> None:
    with pytest.raises(UsageError, match="neither upsert nor add_texts"):
        write(object(), rows)


def test_objects_of_this_package_are_not_foreign() -> None:
    assert not is_foreign(None)
    assert not is_foreign(MemoryQueue())
    assert is_foreign(AsyncMock())
    assert is_foreign(Upsert())


def test_a_row_whose_metadata_has_changed_is_written_again(rows: pa.Table) -> None:
    store = AddTexts()
    foreign = ForeignStore(store)
    asyncio.run(foreign.write(rows, "docs"))
    changed = pa.array(['{"new": 1}'] * len(rows), pa.string())
    place = rows.schema.get_field_index("metadata")
    asyncio.run(foreign.write(rows.set_column(place, "metadata", changed), "docs"))
    assert [len(call["texts"]) for call in store.given] == [2, 2]


def test_a_double_with_a_specification_is_called_by_what_it_has(rows: pa.Table) -> None:
    store = AsyncMock(spec=["upsert"])
    asyncio.run(ForeignStore(store).write(rows, "docs"))
    assert store.upsert.call_count == 1


def test_a_store_that_refuses_is_said_to_be_the_store(rows: pa.Table) -> None:
    store = MagicMock()
    store.add_texts.return_value = Err(RuntimeError("read only"))
    with pytest.raises(WorkerError, match="the vector store refused: read only"):
        asyncio.run(ForeignStore(store).write(rows, "docs"))
