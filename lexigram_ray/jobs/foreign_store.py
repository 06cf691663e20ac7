"""A vector store of other code: rows of a collection written into it, by shape alone.

Ids are the rows' own, so that the same rows written again are the same records. A store whose
method takes no ids gets them within the metadata, under `id`; what this process has written there
once it does not write again.
"""

from __future__ import annotations

import inspect
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.jobs.awaiting import call, parameters_of
from lexigram_ray.jobs.foreign_queue import unwrapped

__all__ = ["ForeignRecord", "ForeignStore", "is_foreign"]

MOST_REMEMBERED = 500_000
"""Rows of which it is known that they were written to a store that takes no ids."""

_OWN = "lexigram_ray"
_WHO = "the vector store"
_PLACE_IN_DOCUMENT = ("source", "title", "chunk_index", "page", "char_start", "char_end")

# What the parameters of such methods are called, by what they mean.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "collection": ("collection_name", "collection", "namespace", "index_name", "table_name"),
    "ids": ("ids", "doc_ids", "keys"),
    "texts": ("texts", "documents", "contents"),
    "vectors": ("embeddings", "vectors"),
    "metadatas": ("metadatas", "metadata", "payloads"),
    "records": ("records", "items", "points", "rows", "entries", "data"),
}
_USUAL = {
    "texts": "texts",
    "vectors": "embeddings",
    "metadatas": "metadatas",
    "collection": "collection_name",
}
"""What a method that takes anything is given, and under which names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRecord:
    """One row, with the attributes of the reference's `VectorRecord`.

    Attributes:
        vector: Float32 values, L2-normalised.
    """

    id: str
    vector: list[float]
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    content: str | None = None


def is_foreign(store: object) -> bool:
    """Whether an object is of other code; None is not."""
    if store is None:
        return False
    homes = {cls.__module__.partition(".")[0] for cls in type(store).__mro__[:-1]}
    return _OWN not in homes


class ForeignStore:
    """Writes rows to a store, and removes them where it can.

    Args:
        store: Has `upsert`, `add_texts`, `add`, or `get_collection(name)` with one of these; the
            first that it has is called. Plain or asynchronous.
    """

    def __init__(self, store: object) -> None:
        self.store = store
        self._written: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()

    async def write(self, rows: pa.Table, collection: str) -> int:
        """Write rows, and return how many there are.

        Args:
            rows: With the columns of `vectors.schema.collection_schema`.
            collection: Its name, passed on where the method takes one.

        Raises:
            UsageError: The store has none of these methods, or none that can be called so.
            WorkerError: It answered with an error.
            Exception: Whatever it raised.
        """
        method = await self._method(collection)
        takes_ids = _takes_ids(method)
        if not takes_ids:
            rows = self._not_written(rows, collection)
        if not len(rows):
            return 0
        # In a thread: numbers by the million become Python's.
        given = await call(_values, rows, collection, with_ids=not takes_ids)
        unwrapped(await _called(method, given), _WHO)
        if not takes_ids:
            self._remember(rows, collection)
        return len(rows)

    async def delete_documents(self, collection: str, document_ids: Sequence[str]) -> bool:
        """Remove all rows of documents, where the store can.

        Returns:
            Whether it was asked to.
        """
        method = _own(self.store, "delete_documents")
        if method is None:
            return False
        self._forget(collection, set(document_ids))
        ids = list(document_ids)
        named = _bound(method, {"collection": collection, "ids": ids, "document_ids": ids})
        told = call(method, collection, ids) if named is None else call(method, **named)
        unwrapped(await told, _WHO)
        return True

    async def _method(self, collection: str) -> Callable[..., Any]:
        """Return the first method that writes."""
        usual = _own(self.store, "add_texts") if _is_double(self.store) else None
        if usual is not None:
            # It has all of them; the reference calls this one.
            return usual
        for name in ("upsert", "add_texts", "add"):
            method = _own(self.store, name)
            if method is not None and (name != "add_texts" or _takes_ids(method)):
                return method
        opened = await self._opened(collection)
        for target in (opened, self.store):
            for name in ("upsert", "add_texts", "add"):
                method = _own(target, name)
                if method is not None:
                    return method
        raise UsageError(
            f"{type(self.store).__name__} is no vector store: it has neither upsert nor add_texts",
            hint="give a store with add_texts(texts, embeddings, metadatas, collection_name)",
        )

    async def _opened(self, collection: str) -> object:
        get_collection = _own(self.store, "get_collection")
        if get_collection is None:
            return None
        try:
            return unwrapped(await call(get_collection, collection), _WHO)
        except Exception:
            if _own(self.store, "add_texts") is None:
                raise
            return None  # It has another way, which makes the collection where it is missing.

    def _not_written(self, rows: pa.Table, collection: str) -> pa.Table:
        keys = _keys(rows, collection)
        return rows.filter(pa.array([key not in self._written for key in keys], pa.bool_()))

    def _remember(self, rows: pa.Table, collection: str) -> None:
        for key in _keys(rows, collection):
            self._written[key] = None
        while len(self._written) > MOST_REMEMBERED:
            self._written.popitem(last=False)

    def _forget(self, collection: str, document_ids: set[str]) -> None:
        for key in [key for key in self._written if key[0] == collection]:
            if key[1] in document_ids or key[1].rpartition(":")[0] in document_ids:
                del self._written[key]


def _keys(rows: pa.Table, collection: str) -> list[tuple[str, str, str, str]]:
    columns = (rows.column(name).to_pylist() for name in ("id", "content_hash", "metadata"))
    return [
        (collection, row_id, text_hash, hash_text(metadata or ""))
        for row_id, text_hash, metadata in zip(*columns, strict=True)
    ]


def _values(rows: pa.Table, collection: str, *, with_ids: bool) -> dict[str, Any]:
    ids: list[str] = rows.column("id").to_pylist()
    metadatas = [_metadata(row, with_id=with_ids) for row in rows.drop(["vector"]).to_pylist()]
    texts: list[str] = rows.column("text").to_pylist()
    vectors: list[list[float]] = rows.column("vector").to_pylist()
    records = [
        ForeignRecord(id=row_id, vector=vector, metadata=metadata, content=text)
        for row_id, vector, metadata, text in zip(ids, vectors, metadatas, texts, strict=True)
    ]
    return {
        "collection": collection,
        "ids": ids,
        "texts": texts,
        "vectors": vectors,
        "metadatas": metadatas,
        "records": records,
    }


def _metadata(row: Mapping[str, Any], *, with_id: bool) -> dict[str, Any]:
    """Return what was given with a text, and of a passage of a document where it stands."""
    given = json.loads(row["metadata"] or "{}")
    metadata: dict[str, Any] = given if isinstance(given, dict) else {"metadata": given}
    if row["document_id"] != row["id"]:
        known = {"document_id": row["document_id"]}
        known |= {name: row[name] for name in _PLACE_IN_DOCUMENT if row[name] is not None}
        metadata = known | metadata
    return metadata | {"id": row["id"]} if with_id else metadata


async def _called(method: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    named = _bound(method, given)
    if named is None:
        raise UsageError(
            f"{getattr(method, '__qualname__', 'the method')} cannot be called with texts, "
            f"vectors and metadata: its signature is {inspect.signature(method)}",
            hint="give it the parameters texts, embeddings, metadatas and collection_name",
        )
    return await call(method, **named)


def _bound(method: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments under the names that a method has for them; None where it wants more."""
    parameters = _parameters(method)
    if parameters is None:
        return {_USUAL[what]: value for what, value in given.items() if what in _USUAL}
    named: dict[str, Any] = {}
    for what, value in given.items():
        wanted = (what, *_NAMES.get(what, ()))
        name = next((name for name in wanted if name in parameters), None)
        if name is not None:
            named[name] = value
    kinds = {each.kind for each in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds and "records" not in named:
        free = {_USUAL[what]: value for what, value in given.items() if what in _USUAL}
        named = {name: value for name, value in free.items() if not _is_named(name, named)} | named
        if "ids" in given:
            named.setdefault("ids", given["ids"])
    try:
        inspect.signature(method).bind(**named)
    except TypeError:
        return None
    return named


def _is_named(name: str, named: Mapping[str, Any]) -> bool:
    same = next((names for names in _NAMES.values() if name in names), (name,))
    return any(each in named for each in same)


def _takes_ids(method: Callable[..., Any]) -> bool:
    parameters = _parameters(method)
    if parameters is None:
        return False
    if any(name in parameters for name in (*_NAMES["ids"], *_NAMES["records"])):
        return True
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


def _parameters(method: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Return a method's parameters; None of a test double, and of what has no signature."""
    return None if _is_double(method) else parameters_of(method)


def _own(target: object, name: str) -> Callable[..., Any] | None:
    method = getattr(target, name, None)
    return method if callable(method) else None


def _is_double(target: object) -> bool:
    """Whether it is one of `unittest.mock`, which has every attribute and takes every argument."""
    return any(cls.__module__ == "unittest.mock" for cls in type(target).__mro__)
