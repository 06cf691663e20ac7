from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from lexigram_ray.core.errors import (
    CollectionMismatchError,
    CollectionNotFoundError,
    InvalidNameError,
    UsageError,
)
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.schema import collection_schema, is_keyed
from lexigram_ray.vectors.writing import replace_documents
from tests.collections_data import DIMENSION, SETTINGS, STORE_ID, documents


@pytest.fixture
def collections(tmp_path: Path) -> Collections:
    return Collections(tmp_path / "lancedb")


def test_a_collection_says_what_it_was_made_with(collections: Collections) -> None:
    made = collections.create("docs", SETTINGS, STORE_ID)
    opened = collections.open("docs")

    assert opened.settings == made.settings == SETTINGS
    assert opened.store_id == made.store_id == STORE_ID
    assert opened.count_rows() == 0
    assert collections.names() == ["docs"]


def test_the_columns_are_those_that_other_programs_rely_on(collections: Collections) -> None:
    schema = lance.dataset(collections.create("docs", SETTINGS, STORE_ID).dataset.uri).schema

    assert schema.equals(collection_schema(DIMENSION))
    assert is_keyed(schema)
    assert not schema.field("id").nullable
    assert schema.names == [
        *("id", "document_id", "source", "title", "text", "vector", "chunk_index", "page"),
        *("char_start", "char_end", "headings", "content_hash", "metadata", "job_id"),
        "created_at",
    ]


def test_settings_and_key_survive_writes_compaction_and_indexing(collections: Collections) -> None:
    collection = collections.create("docs", SETTINGS, STORE_ID)
    for version in ("first", "second"):
        plain = documents({"a": 3}, version).replace_schema_metadata(None)
        replace_documents(collection, plain, delete_for=["a"])
    collection.dataset.optimize.compact_files()
    collection.dataset.create_scalar_index("document_id", "BTREE")

    opened = collections.open("docs")
    assert (opened.settings, opened.store_id) == (SETTINGS, STORE_ID)
    assert is_keyed(opened.dataset.schema)


def test_creating_what_exists_opens_it(collections: Collections) -> None:
    first = collections.create("docs", SETTINGS, STORE_ID)
    replace_documents(first, documents({"a": 3}), delete_for=[])

    second = collections.create("docs", SETTINGS, "another store")
    assert second.store_id == STORE_ID
    assert second.count_rows() == 3


def test_creating_what_exists_with_another_model_is_refused(collections: Collections) -> None:
    collections.create("docs", SETTINGS, STORE_ID)
    with pytest.raises(CollectionMismatchError, match="model"):
        collections.create("docs", replace(SETTINGS, model="other/model"), STORE_ID)


def test_a_missing_collection_is_named_together_with_the_nearest(collections: Collections) -> None:
    collections.create("python-docs", SETTINGS, STORE_ID)

    with pytest.raises(CollectionNotFoundError, match="python-doc") as near:
        collections.open("python-doc")
    with pytest.raises(CollectionNotFoundError) as far:
        collections.open("invoices")

    assert near.value.hint == "did you mean python-docs?"
    assert far.value.hint == "lexigram-ray ingest PATH --collection invoices"


def test_nothing_exists_where_nothing_was_made(collections: Collections) -> None:
    assert collections.names() == []
    assert collections.list_infos() == []
    assert not collections.exists("docs")


def test_no_path_is_made_of_a_bad_name(collections: Collections) -> None:
    for use in (collections.exists, collections.open, collections.drop, collections.info):
        with pytest.raises(InvalidNameError):
            use("../escape")
    with pytest.raises(InvalidNameError):
        collections.create("../escape", SETTINGS, STORE_ID)
    assert not collections.root.exists()


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "dangling link"])
def test_something_else_of_the_name_is_a_clear_error(collections: Collections, kind: str) -> None:
    path = collections.root / "docs.lance"
    collections.root.mkdir()
    if kind == "file":
        path.write_text("not a folder")
    elif kind == "dangling link":
        path.symlink_to(collections.root / "nowhere")
    else:
        path.mkdir()
    if kind == "folder":
        (path / "letter.txt").write_text("mine")

    assert collections.exists("docs")
    for use in (collections.open, collections.drop, collections.info):
        with pytest.raises(UsageError, match="not a Lance table"):
            use("docs")
    with pytest.raises(UsageError, match="not a Lance table"):
        collections.create("docs", SETTINGS, STORE_ID)
    assert collections.names() == []
    assert os.path.lexists(path)


def test_a_table_of_another_program_is_neither_opened_nor_dropped(collections: Collections) -> None:
    collections.root.mkdir()
    lance.write_dataset(pa.table({"x": [1]}), str(collections.root / "foreign.lance"))
    collections.create("docs", SETTINGS, STORE_ID)

    for use in (collections.open, collections.drop):
        with pytest.raises(UsageError, match="another program"):
            use("foreign")
    assert [info.name for info in collections.list_infos()] == ["docs"]
    assert lance.dataset(str(collections.root / "foreign.lance")).count_rows() == 1


def test_settings_that_cannot_be_read_are_a_clear_error(collections: Collections) -> None:
    dataset = collections.create("docs", SETTINGS, STORE_ID).dataset
    dataset.update_schema_metadata({"lexigram_ray.settings": "{"})
    with pytest.raises(UsageError, match=r"lexigram_ray\.settings"):
        collections.open("docs")


def test_info_counts_rows_documents_versions_and_bytes(collections: Collections) -> None:
    collection = collections.create("docs", SETTINGS, STORE_ID)
    replace_documents(collection, documents({"a": 3, "b": 2}), delete_for=[])
    replace_documents(collection, documents({"a": 1}, "second"), delete_for=["a"])

    info = collections.info("docs")
    on_disk = sum(file.stat().st_size for file in collection.path.rglob("*") if file.is_file())
    assert info.to_dict() == {
        "name": "docs",
        "rows": 3,
        "documents": 2,
        "model": SETTINGS.model,
        "dimension": DIMENSION,
        "precision": "bf16",
        "chunker": "tokens:254:0",
        "bytes": on_disk,
        "live_bytes": info.live_bytes,
        "dead_bytes": on_disk - info.live_bytes,
        "versions": collection.version,
        "fragments": 2,
        "indexes": ["headings_idx", "text_idx", "title_idx"],
    }
    assert collections.list_infos() == [info]


def test_a_dropped_collection_is_gone_and_its_name_is_free(collections: Collections) -> None:
    collection = collections.create("docs", SETTINGS, STORE_ID)
    replace_documents(collection, documents({"a": 3, "b": 2}), delete_for=[])

    assert collections.drop("docs") == 5
    assert not collections.exists("docs")
    assert list(collections.root.iterdir()) == []
    assert collections.create("docs", SETTINGS, STORE_ID).count_rows() == 0


def test_what_a_killed_creation_left_aside_is_removed_once_it_is_old(
    collections: Collections,
) -> None:
    collections.root.mkdir()
    old, young = collections.root / ".creating-old", collections.root / ".dropped-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (time.time() - 7200, time.time() - 7200))

    collections.create("docs", SETTINGS, STORE_ID)
    assert not old.exists()
    assert young.exists()
    assert collections.names() == ["docs"]


def test_a_data_directory_may_have_any_name(tmp_path: Path) -> None:
    collections = Collections(tmp_path / "a b%20c#d?e'\u00e9")
    collection = collections.create("docs", SETTINGS, STORE_ID)
    replace_documents(collection, documents({"a": 2}), delete_for=[])
    assert collections.info("docs").rows == 2
    assert collections.drop("docs") == 2
