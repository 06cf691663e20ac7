"""What a table holds, row by row: one scan that keeps no text and no vector.

While it runs, a row costs 40 bytes and, where documents are told apart, a document its id. A
million rows of 384 numbers are read in some seconds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lexigram_ray.core.ids import HASH_BYTES, digest
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.sql import is_any_of
from lexigram_ray.vectors.translate import lance_errors
from lexigram_ray.vectors.writing import DocumentRows

ROWS_AT_ONCE = 8_192
BATCHES_AHEAD = 4
IO_BYTES = 64 * 1024 * 1024
MOST_KEPT = 10_000
"""Wrong vectors and repeated ids kept one by one; all are counted."""

_OURS = re.compile(rf"[0-9a-f]{{{2 * HASH_BYTES}}}")


class AuditStopped(Exception):
    """Whoever asked for the audit does not want it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongVector:
    """A row that no search can find as it should.

    Attributes:
        what: What is wrong with its vector, in words.
    """

    row_id: str
    document_id: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedId:
    """An id that several rows have.

    Attributes:
        documents: Whose rows these are.
    """

    row_id: str
    rows: int
    documents: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class TableAudit:
    """What one version of a table holds.

    Attributes:
        rows: That were read.
        wrong_vectors: The first of them.
        vectors_wrong: How many there are.
        repeated: The first of the ids that several rows have.
        ids_repeated: How many there are.
    """

    version: int
    rows: int = 0
    wrong_vectors: list[WrongVector] = field(default_factory=list[WrongVector])
    vectors_wrong: int = 0
    repeated: list[RepeatedId] = field(default_factory=list[RepeatedId])
    ids_repeated: int = 0
    _documents: _Documents | None = None

    def documents(self) -> Iterator[tuple[str, DocumentRows]]:
        """Yield what there is of each document, if documents were told apart."""
        if self._documents is not None:
            yield from self._documents.summed()


def audit_table(
    collection: Collection,
    *,
    tolerance: float,
    by_document: bool,
    only: Sequence[str] | None = None,
    keep_on: Callable[[], bool] = lambda: True,
) -> TableAudit:
    """Read all rows of the version that `collection` holds.

    Args:
        collection: At the version that counts.
        tolerance: How far a vector's length may be from 1.
        by_document: Whether to tell documents apart; else each row stands for itself.
        only: Read only the rows of these documents, or of these ids where each row stands for
            itself.
        keep_on: Asked between batches.

    Raises:
        AuditStopped: `keep_on` said so.
        WorkerError: The table cannot be read.
    """
    audit = TableAudit(version=collection.version)
    documents = _Documents() if by_document else None
    wanted = None if only is None else is_any_of("document_id" if by_document else "id", only)
    columns = ["id", "document_id", "vector"]
    if documents is not None:
        columns += ["chunk_index", "content_hash"]
    ids: list[NDArray[np.int64]] = []
    for batch in _scan(collection, columns, wanted):
        if not keep_on():
            raise AuditStopped
        audit.rows += batch.num_rows
        ids.append(_hashed(batch.column("id")))
        _note_vectors(audit, batch, tolerance)
        if documents is not None:
            documents.add(batch, ids[-1])
    audit._documents = documents  # pyright: ignore[reportPrivateUsage]
    _note_repeated(audit, collection, np.concatenate(ids) if ids else np.zeros(0, np.int64), wanted)
    return audit


def sources_of(collection: Collection, document_ids: Sequence[str]) -> dict[str, str]:
    """Return where documents came from, as their rows say."""
    with lance_errors(collection.name, collection.path):
        rows = collection.dataset.to_table(
            columns=["document_id", "source"], filter=is_any_of("document_id", document_ids)
        )
    return dict(zip(rows["document_id"].to_pylist(), rows["source"].to_pylist(), strict=True))


def _scan(
    collection: Collection, columns: Sequence[str], wanted: str | None
) -> Iterator[pa.RecordBatch]:
    with lance_errors(collection.name, collection.path):
        yield from collection.dataset.scanner(
            columns=list(columns),
            filter=wanted,
            batch_size=ROWS_AT_ONCE,
            batch_readahead=BATCHES_AHEAD,
            io_buffer_size=IO_BYTES,
        ).to_batches()


def _hashed(ids: pa.Array) -> NDArray[np.int64]:
    # Python's own hash is keyed anew in each process: nobody can make ids that collide, and what
    # seems to be repeated is looked at again as text.
    return np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids))


def _note_vectors(audit: TableAudit, batch: pa.RecordBatch, tolerance: float) -> None:
    column = batch.column("vector")
    there = column.is_valid().to_numpy(zero_copy_only=False)
    dimension = column.type.list_size
    values = column.values.slice(column.offset * dimension, len(column) * dimension)
    vectors = values.to_numpy(zero_copy_only=False).reshape(len(column), dimension)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    # Not a number compares as false: such rows are wrong, too.
    wrong = np.flatnonzero(~there | ~(np.abs(lengths - 1) <= tolerance))
    audit.vectors_wrong += len(wrong)
    for place in wrong[: MOST_KEPT - len(audit.wrong_vectors)].tolist():
        audit.wrong_vectors.append(
            WrongVector(
                row_id=batch.column("id")[place].as_py(),
                document_id=batch.column("document_id")[place].as_py(),
                what=_what_is_wrong(bool(there[place]), float(lengths[place])),
            )
        )


def _what_is_wrong(there: bool, length: float) -> str:
    if not there:
        return "no vector"
    if not np.isfinite(length):
        return "a vector that is not finite"
    return f"a vector of length {length:.4g}"


def _note_repeated(
    audit: TableAudit, collection: Collection, ids: NDArray[np.int64], wanted: str | None
) -> None:
    in_order = np.sort(ids)
    repeated = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    if not len(repeated):
        return
    times: Counter[str] = Counter()
    owners: dict[str, dict[str, None]] = {}
    for batch in _scan(collection, ["id", "document_id"], wanted):
        here = np.flatnonzero(np.isin(_hashed(batch.column("id")), repeated))
        for place in here.tolist():
            row_id = batch.column("id")[place].as_py()
            times[row_id] += 1
            owners.setdefault(row_id, {})[batch.column("document_id")[place].as_py()] = None
    several = [row_id for row_id, count in times.items() if count > 1]
    audit.ids_repeated = len(several)
    audit.repeated = [
        RepeatedId(row_id=each, rows=times[each], documents=tuple(owners[each]))
        for each in several[:MOST_KEPT]
    ]


class _Documents:
    """Gathers what makes out documents: whose row, which chunk, which content, which id."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._irregular: set[int] = set()
        self._owners: list[NDArray[np.int32]] = []
        self._chunks: list[NDArray[np.int32]] = []
        self._hashes: list[NDArray[np.uint8]] = []
        self._ids: list[NDArray[np.int64]] = []

    def add(self, batch: pa.RecordBatch, ids: NDArray[np.int64]) -> None:
        """Take one batch."""
        coded = batch.column("document_id").fill_null("").dictionary_encode()
        known = self._numbers
        numbers = [known.setdefault(name, len(known)) for name in coded.dictionary.to_pylist()]
        owners = np.array(numbers, np.int32)[coded.indices.to_numpy()]
        hashes, irregular = _packed(batch.column("content_hash").to_pylist())
        self._irregular.update(owners[irregular].tolist())
        self._owners.append(owners)
        self._chunks.append(batch.column("chunk_index").fill_null(-1).to_numpy())
        self._hashes.append(hashes)
        self._ids.append(ids)

    def summed(self) -> Iterator[tuple[str, DocumentRows]]:
        """Yield count, distinct ids and digest of each document."""
        if not self._numbers:
            return
        owners, ids = np.concatenate(self._owners), np.concatenate(self._ids)
        hashes = np.concatenate(self._hashes)
        counts = np.bincount(owners, minlength=len(self._numbers))
        distinct = _distinct(owners, ids, len(self._numbers))
        in_order = np.lexsort((np.concatenate(self._chunks), owners))
        ends = np.cumsum(counts)
        for name, number in self._numbers.items():
            rows = hashes[in_order[ends[number] - counts[number] : ends[number]]]
            texts = rows.tobytes().hex("\n", HASH_BYTES).split("\n")
            irregular = number in self._irregular
            yield (
                name,
                DocumentRows(
                    count=int(counts[number]),
                    distinct_ids=int(distinct[number]),
                    digest="" if irregular else digest(texts),
                ),
            )


def _packed(hashes: Sequence[str | None]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return hashes as bytes, shape `(n, 16)`, and the places of those that are none of ours."""
    irregular = [place for place, text in enumerate(hashes) if not _OURS.fullmatch(text or "")]
    regular = list(hashes)
    for place in irregular:
        regular[place] = "0" * 2 * HASH_BYTES
    packed = np.frombuffer(bytes.fromhex("".join(text or "" for text in regular)), np.uint8)
    return packed.reshape(len(hashes), HASH_BYTES), np.array(irregular, np.int64)


def _distinct(
    owners: NDArray[np.int32], ids: NDArray[np.int64], documents: int
) -> NDArray[np.int64]:
    """Count the distinct ids of each document, shape `(documents,)`."""
    in_order = np.lexsort((ids, owners))
    owners, ids = owners[in_order], ids[in_order]
    first = np.ones(len(ids), np.bool_)
    first[1:] = (owners[1:] != owners[:-1]) | (ids[1:] != ids[:-1])
    return np.bincount(owners[first], minlength=documents)
