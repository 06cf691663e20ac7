"""Units in, rows and failures out: what goes wrong in one document stays in that document."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from lexigram_ray.core.errors import (
    CorruptError,
    DiskFullError,
    DocumentSkipped,
    EmbedderDiedError,
    EmbeddingError,
)
from lexigram_ray.core.ids import chunk_id, digest, hash_text
from lexigram_ray.core.types import Chunk, FailureCategory, Outcome, PageSpan, ParsedDocument
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.embedding.cached import CachedEmbedder, Embedded
from lexigram_ray.ingestion.chunker import Chunker
from lexigram_ray.jobs import executor
from lexigram_ray.jobs.executor import Executed, Execution, execute
from lexigram_ray.vectors.schema import collection_schema
from tests.fakes import HashingProvider
from tests.in_memory import CHUNKER, DIMENSION, MemoryParser, document, sentences, tools

POISON = "poison"


class PickyProvider(HashingProvider):
    """A model that fails on every call that has the poison among its texts."""

    def __init__(self, error: Exception, texts_before: int = 0) -> None:
        super().__init__(DIMENSION)
        self._error = error
        self._texts_before = texts_before

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if any(POISON in text for text in texts) and self.texts_embedded >= self._texts_before:
            raise self._error
        return super().embed_texts(texts)


class FaultyChunker(Chunker):
    """A chunker with a bug that shows after the first chunk of a poisoned text."""

    def __init__(self) -> None:
        super().__init__(CHUNKER, None)

    def chunks(self, parsed: ParsedDocument) -> Iterator[Chunk]:
        for number, chunk in enumerate(super().chunks(parsed)):
            if number and POISON in parsed.text:
                raise IndexError("one past the end")
            yield chunk


def picky(error: Exception, texts_before: int = 0) -> CachedEmbedder:
    provider = PickyProvider(error, texts_before)
    return CachedEmbedder(lambda: provider, None, provider.spec)


def run(
    contents: Mapping[str, str | Exception], scratch: Path, **changes: object
) -> tuple[Execution, dict[str, Executed]]:
    """Execute the documents as one batch, and return each one's end by its name as well."""
    execution = execute([document(name) for name in contents], tools(contents, scratch, **changes))
    spilled = [each.executed for each in execution.spilled]
    ends = {Path(each.document.path).name: each for each in (*execution.units, *spilled)}
    assert len(ends) == len(execution.units) + len(spilled), "a document has two ends"
    assert set(ends) == set(contents), "a document has no end"
    return execution, ends


def rows_by_name(execution: Execution) -> dict[str, list[str]]:
    """Return the texts of each document's rows, in the order of the table."""
    found: dict[str, list[str]] = {}
    for row in execution.rows.to_pylist() if execution.rows is not None else []:
        found.setdefault(Path(row["source"]).name, []).append(row["text"])
    return found


# -- What a row is ---------------------------------------------------------------------------------


def test_rows_have_the_columns_of_a_collection_and_say_where_each_chunk_comes_from(
    tmp_path: Path,
) -> None:
    text = sentences(3, "a")
    execution, ends = run({"a": text, "b": "Just one."}, tmp_path)
    rows = execution.rows
    assert rows is not None
    assert rows.schema.equals(collection_schema(DIMENSION), check_metadata=True)
    a = document("a").document_id
    assert rows["id"].to_pylist() == [
        *(chunk_id(a, index) for index in range(3)),
        chunk_id(document("b").document_id, 0),
    ]
    for row in rows.to_pylist()[:3]:
        assert row["id"] == f"{row['document_id']}:{row['chunk_index']}"
        assert row["text"] == text[row["char_start"] : row["char_end"]]
        assert row["content_hash"] == hash_text(row["text"])
        assert (row["source"], row["job_id"]) == ("/memory/a", "job")
        assert json.loads(row["metadata"]) == {"mime": "text/plain"}
        expected = HashingProvider(DIMENSION).embed_query(row["text"])
        np.testing.assert_array_equal(np.array(row["vector"], np.float32), expected)
    assert [ends["a"].chunks, ends["b"].chunks] == [3, 1]


def test_the_digest_is_over_the_hashes_of_the_chunks_in_their_order(tmp_path: Path) -> None:
    execution, ends = run({"a": sentences(3, "a"), "b": sentences(2, "b")}, tmp_path)
    for name, texts in rows_by_name(execution).items():
        assert ends[name].digest == digest(hash_text(text) for text in texts)


def test_title_pages_and_metadata_of_the_document_are_in_its_rows(tmp_path: Path) -> None:
    class PagedParser(MemoryParser):
        def parse(self, document: object) -> ParsedDocument:
            text = "First page.\n\nSecond page."
            pages = (
                PageSpan(number=1, char_start=0, char_end=11),
                PageSpan(number=2, char_start=13, char_end=25),
            )
            return ParsedDocument(
                content_hash="",
                text=text,
                markdown=False,
                mime="application/pdf",
                title="Zwölf Seiten",
                pages=pages,
                metadata={"author": "Ödön"},
            )

    short = Chunker(CHUNKER.__class__(strategy="characters", size=14, overlap=0), None)
    execution, _ = run({"a": ""}, tmp_path, parser=PagedParser({}), chunker=short)
    assert execution.rows is not None
    rows = execution.rows.to_pylist()
    assert [row["page"] for row in rows] == [1, 2]
    assert {row["title"] for row in rows} == {"Zwölf Seiten"}
    assert json.loads(rows[0]["metadata"]) == {"mime": "application/pdf", "author": "Ödön"}


def test_counts_of_computed_and_cached_vectors_add_up_to_the_chunks_of_each_document(
    tmp_path: Path,
) -> None:
    provider = HashingProvider(DIMENSION)
    cache = EmbeddingCache(tmp_path / "cache", provider.spec)
    embedder = CachedEmbedder(lambda: provider, cache, provider.spec)
    # `again` repeats the text of `first`: a text is computed once, for whoever comes first.
    contents = {"first": sentences(3, "one"), "again": sentences(3, "one"), "new": "Something new."}
    _, ends = run(contents, tmp_path, embedder=embedder)
    counts = {name: (end.computed, end.cached) for name, end in ends.items()}
    assert counts == {"first": (3, 0), "again": (0, 3), "new": (1, 0)}
    assert sum(end.computed for end in ends.values()) == provider.texts_embedded

    _, later = run(contents | {"newer": "Never seen."}, tmp_path, embedder=embedder)
    counts = {name: (end.computed, end.cached) for name, end in later.items()}
    assert counts == {"first": (0, 3), "again": (0, 3), "new": (0, 1), "newer": (1, 0)}


# -- What goes wrong in one document ---------------------------------------------------------------


def test_a_document_that_cannot_be_parsed_is_a_row_and_its_neighbours_are_ingested(
    tmp_path: Path,
) -> None:
    damaged = CorruptError("its zip container is damaged", hint="save it again")
    execution, ends = run({"a": "Before.", "bad": damaged, "c": "After."}, tmp_path)
    assert rows_by_name(execution) == {"a": ["Before."], "c": ["After."]}
    assert [ends[name].outcome for name in ("a", "c")] == [Outcome.INGESTED, Outcome.INGESTED]
    bad = ends["bad"]
    assert bad.failure is not None
    assert (bad.outcome, bad.chunks, bad.digest) == (Outcome.FAILED, 0, "")
    assert (bad.failure.category, bad.failure.code) == (FailureCategory.INVALID_INPUT, "corrupt")
    assert bad.failure.reason == "its zip container is damaged (save it again)"
    assert "CorruptError" in bad.failure.traceback


@pytest.mark.parametrize("text", ["", " \n\t \n"])
def test_a_document_without_text_is_skipped(tmp_path: Path, text: str) -> None:
    execution, ends = run({"blank": text, "b": "Words."}, tmp_path)
    blank = ends["blank"]
    assert blank.failure is not None
    assert (blank.outcome, blank.failure.code) == (Outcome.SKIPPED, "no_text")
    assert rows_by_name(execution) == {"b": ["Words."]}


def test_what_the_parser_skips_is_skipped_under_its_own_code(tmp_path: Path) -> None:
    execution, ends = run({"a": DocumentSkipped("a picture", code="unsupported")}, tmp_path)
    assert ends["a"].failure is not None
    assert (ends["a"].outcome, ends["a"].failure.code) == (Outcome.SKIPPED, "unsupported")
    assert execution.rows is None


def test_a_bug_of_the_chunker_fails_the_document_that_shows_it(tmp_path: Path) -> None:
    contents = {"a": "Before.", "bad": f"{POISON} " + sentences(3, "bad"), "c": "After."}
    execution, ends = run(contents, tmp_path, chunker=FaultyChunker())
    assert rows_by_name(execution) == {"a": ["Before."], "c": ["After."]}
    failure = ends["bad"].failure
    assert failure is not None
    assert (failure.category, failure.code) == (FailureCategory.UNKNOWN, "unexpected")
    assert failure.error_type == "builtins.IndexError"
    assert "IndexError: one past the end" in failure.reason
    assert "FaultyChunker" in failure.traceback or "chunks" in failure.traceback


def test_a_text_that_the_model_refuses_costs_its_own_document_only(tmp_path: Path) -> None:
    contents = {
        "a": sentences(3, "a"),
        "bad": f"{sentences(2, 'bad')}\n\n{POISON}.",
        "c": sentences(2, "c"),
    }
    embedder = picky(EmbeddingError("the model returned vectors that are not finite"))
    execution, ends = run(contents, tmp_path, embedder=embedder)
    assert {name: len(texts) for name, texts in rows_by_name(execution).items()} == {"a": 3, "c": 2}
    failure = ends["bad"].failure
    assert failure is not None
    assert (ends["bad"].outcome, failure.code) == (Outcome.FAILED, "embedding_failed")
    assert (ends["bad"].chunks, ends["bad"].computed, ends["bad"].cached) == (0, 0, 0)
    for name, texts in rows_by_name(execution).items():
        assert ends[name].digest == digest(hash_text(text) for text in texts)


def test_a_document_alone_that_the_model_refuses_is_tried_once(tmp_path: Path) -> None:
    provider = PickyProvider(EmbeddingError("no"))
    asked: list[int] = []

    class CountingEmbedder(CachedEmbedder):
        def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
            asked.append(len(texts))
            return super().embed(texts, hashes)

    embedder = CountingEmbedder(lambda: provider, None, provider.spec)
    execution, ends = run({"bad": f"{POISON}."}, tmp_path, embedder=embedder)
    assert (ends["bad"].outcome, execution.rows, asked) == (Outcome.FAILED, None, [1])


# -- What is no document's fault -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT"])
def test_a_full_disk_is_raised_and_blames_no_document(tmp_path: Path, name: str) -> None:
    number = getattr(errno, name)
    full = OSError(number, os.strerror(number), "/state/parsed/x")
    with pytest.raises(DiskFullError, match="/state/parsed/x") as raised:
        run({"a": "Before.", "unlucky": full, "c": "After."}, tmp_path)
    assert raised.value.hint is not None


@pytest.mark.parametrize(
    "error",
    [DiskFullError("the parsed text cannot be kept"), MemoryError("out of memory")],
    ids=lambda error: type(error).__name__,
)
def test_what_would_fail_every_document_is_raised_as_it_is(
    tmp_path: Path, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised:
        run({"a": "Before.", "unlucky": error}, tmp_path)
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        DiskFullError("the cache has no space left"),
        EmbedderDiedError("the actor died"),
        MemoryError("out of memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_embedder_that_cannot_go_on_is_raised_and_blames_no_document(
    tmp_path: Path, error: Exception
) -> None:
    with pytest.raises(type(error)):
        run({"a": "Before.", "unlucky": f"{POISON}."}, tmp_path, embedder=picky(error))


def test_an_embedder_that_finds_the_disk_full_is_raised_and_blames_no_document(
    tmp_path: Path,
) -> None:
    contents = {"a": "Before.", "unlucky": f"{POISON}."}
    with pytest.raises(DiskFullError):
        run(contents, tmp_path, embedder=picky(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


# -- Large documents -------------------------------------------------------------------------------


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents of ten chunks count as large, and are embedded four chunks at a time."""
    monkeypatch.setattr(executor, "SPILL_AFTER_CHUNKS", 10)
    monkeypatch.setattr(executor, "WINDOW_CHUNKS", 4)


@pytest.mark.usefixtures("small_windows")
def test_a_large_document_goes_through_a_file_whose_batches_are_all_its_rows_in_order(
    tmp_path: Path,
) -> None:
    contents = {"small": sentences(9, "small"), "large": sentences(30, "large"), "c": "After."}
    scratch = tmp_path / "not" / "made" / "yet"
    execution, ends = run(contents, scratch)
    assert sorted(rows_by_name(execution)) == ["c", "small"]
    (spilled,) = execution.spilled
    assert spilled.executed == ends["large"]
    assert Path(spilled.path).parent == scratch

    with pa.ipc.open_file(spilled.path) as file:
        batches = [file.get_batch(number) for number in range(file.num_record_batches)]
        assert file.schema.equals(collection_schema(DIMENSION), check_metadata=True)
    assert all(batch.num_rows <= 4 for batch in batches)
    rows = pa.Table.from_batches(batches)
    large = document("large").document_id
    assert rows["id"].to_pylist() == [chunk_id(large, index) for index in range(30)]
    assert ends["large"].chunks == 30
    assert ends["large"].digest == digest(map(hash_text, rows["text"].to_pylist()))
    np.testing.assert_array_equal(
        np.array(rows["vector"].to_pylist(), np.float32),
        HashingProvider(DIMENSION).embed_texts(rows["text"].to_pylist()),
    )


def test_a_document_is_of_the_same_rows_whether_it_goes_through_a_file_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {"a": sentences(25, "a")}
    execution, whole = run(contents, tmp_path)
    monkeypatch.setattr(executor, "SPILL_AFTER_CHUNKS", 10)
    monkeypatch.setattr(executor, "WINDOW_CHUNKS", 7)
    through_file, spilled = run(contents, tmp_path)
    with pa.ipc.open_file(through_file.spilled[0].path) as file:
        read = file.read_all()
    assert execution.rows is not None
    assert read.drop_columns("created_at").equals(execution.rows.drop_columns("created_at"))
    assert (spilled["a"].digest, spilled["a"].chunks) == (whole["a"].digest, whole["a"].chunks)


@pytest.mark.usefixtures("small_windows")
def test_counts_of_a_large_document_add_up_across_its_windows(tmp_path: Path) -> None:
    provider = HashingProvider(DIMENSION)
    cache = EmbeddingCache(tmp_path / "cache", provider.spec)
    embedder = CachedEmbedder(lambda: provider, cache, provider.spec)
    run({"begin": sentences(5, "large")}, tmp_path, embedder=embedder)
    _, ends = run({"large": sentences(30, "large")}, tmp_path, embedder=embedder)
    assert (ends["large"].computed, ends["large"].cached) == (25, 5)
    assert provider.texts_embedded == 30


@pytest.mark.usefixtures("small_windows")
def test_a_large_document_whose_embedding_fails_midway_fails_alone_and_leaves_no_file(
    tmp_path: Path,
) -> None:
    contents = {
        "a": "Before.",
        "large": f"{sentences(20, 'large')}\n\n{POISON}.",
        "c": "After.",
    }
    scratch = tmp_path / "scratch"
    execution, ends = run(contents, scratch, embedder=picky(EmbeddingError("no"), texts_before=16))
    assert ends["large"].failure is not None
    assert ends["large"].failure.code == "embedding_failed"
    assert execution.spilled == ()
    assert sorted(rows_by_name(execution)) == ["a", "c"]
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("small_windows")
def test_a_chunker_bug_after_the_first_window_of_a_large_document_leaves_no_file(
    tmp_path: Path,
) -> None:
    class LateFault(Chunker):
        def chunks(self, parsed: ParsedDocument) -> Iterator[Chunk]:
            for number, chunk in enumerate(super().chunks(parsed)):
                if number == 17:
                    raise IndexError("late")
                yield chunk

    scratch = tmp_path / "scratch"
    _, ends = run({"large": sentences(20, "large")}, scratch, chunker=LateFault(CHUNKER, None))
    assert ends["large"].failure is not None
    assert ends["large"].failure.code == "unexpected"
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("small_windows")
def test_a_disk_that_fills_up_under_a_large_document_is_raised_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file is a link to the device that is always full.
    monkeypatch.setattr(executor, "uuid", SimpleNamespace(uuid4=lambda: uuid.UUID(int=7)))
    name = f"{document('large').document_id}-{uuid.UUID(int=7).hex}.arrow"
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(DiskFullError):
        run({"large": sentences(30, "large")}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_documents_are_no_rows(tmp_path: Path) -> None:
    assert execute([], tools({}, tmp_path)) == Execution(units=())
