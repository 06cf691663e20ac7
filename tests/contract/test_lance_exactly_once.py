"""The statements about Lance on which "nothing is lost, nothing is twice" rests."""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import lance
import lancedb
import pytest

from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.schema import is_keyed
from lexigram_ray.vectors.search import search
from lexigram_ray.vectors.text_index import ensure_text_index
from lexigram_ray.vectors.writing import (
    remove_documents,
    replace_documents,
    verify_documents,
)
from tests.collections_data import SETTINGS, STORE_ID, digest_of, documents

REPOSITORY = Path(__file__).parents[2]
START_TIMEOUT_SECONDS = 60.0


@pytest.fixture
def collections(tmp_path: Path) -> Collections:
    return Collections(tmp_path / "lancedb")


@pytest.fixture
def collection(collections: Collections) -> Collection:
    made = collections.create("docs", SETTINGS, STORE_ID)
    replace_documents(made, documents({"a": 3, "b": 3}, "s.0.3"), delete_for=[])
    return made


@pytest.mark.slow
def test_processes_that_create_one_collection_at_once_lose_nothing(
    collections: Collections,
) -> None:
    times = 20
    children = [child("create", collections.root, name, times) for name in ("a", "b")]
    let_go(*children)
    for each in children:
        assert finished(each) == 0

    assert collections.names() == sorted(f"c{number}" for number in range(times))
    for name in collections.names():
        made = collections.open(name)
        found = verify_documents(made, ["a", "b"], made.version)
        assert [rows.count for rows in found.values()] == [3, 3], name
        assert made.store_id == STORE_ID


@pytest.mark.slow
def test_writers_beside_compaction_and_indexing_leave_only_whole_documents(
    collections: Collections, collection: Collection
) -> None:
    writers = [child("replace", collections.root, name, 25) for name in ("x", "y")]
    disturber = child("disturb", collections.root, 25)
    let_go(*writers, disturber)
    for each in (*writers, disturber):
        assert finished(each) == 0

    collection.refresh()
    for version in collection.dataset.versions():
        assert_whole(collection.dataset.checkout_version(version["version"]))
    ensure_text_index(collection)
    hits = search(collection, mode="text", text="passage", vector=None, limit=100, where=None)
    assert sorted(hit.id for hit in hits) == ids_in(collection.dataset)


@pytest.mark.slow
@pytest.mark.chaos
def test_a_killed_writer_leaves_the_old_document_or_the_new_one(
    collections: Collections, collection: Collection
) -> None:
    moments = random.Random(7)
    for round_number in range(4):
        writer = child("replace", collections.root, f"k{round_number}", 100_000)
        let_go(writer)
        assert writer.stdout is not None
        assert writer.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.15))
        writer.kill()
        writer.wait()
        writer.stdout.close()

        collection.refresh()
        assert_whole(collection.dataset)
        replace_documents(collection, documents({"a": 2, "b": 2}, "r.0.2"), delete_for=["a", "b"])
        assert_whole(collection.dataset)


def nothing(_: Collection) -> None:
    """Let the late writer come right after the quick one."""


def index(collection: Collection) -> None:
    """Index between the two."""
    ensure_text_index(collection)


def compact(collection: Collection) -> None:
    """Compact between the two."""
    collection.dataset.optimize.compact_files()


def write_others(collection: Collection) -> None:
    """Let others commit between the two."""
    for number in range(3):
        replace_documents(collection, documents({f"o{number}": 2}), delete_for=[])


@pytest.mark.parametrize("between", [nothing, index, compact, write_others])
@pytest.mark.parametrize("document", ["a", "new"])
@pytest.mark.parametrize("late_rows", [6, 0])
def test_a_late_writer_is_refused_whatever_happened_meanwhile(
    collections: Collections,
    collection: Collection,
    document: str,
    late_rows: int,
    between: Callable[[Collection], None],
) -> None:
    quick = collections.open("docs")
    replace_documents(quick, documents({document: 4}, "quick"), delete_for=[document])
    between(quick)

    rows = documents({document: late_rows} if late_rows else {}, "late")
    if document == "new" and not late_rows:
        # Nothing to insert and nothing to delete: it may commit, and does no harm.
        replace_documents(collection, rows, delete_for=[document])
    else:
        with pytest.raises(WriteConflictError):
            replace_documents(collection, rows, delete_for=[document])
    collection.refresh()
    found = verify_documents(collection, [document], collection.version)[document]
    assert (found.count, found.digest) == (4, digest_of(document, 4, "quick"))


def test_a_late_writer_of_a_removed_document_is_refused(
    collections: Collections, collection: Collection
) -> None:
    remove_documents(collections.open("docs"), ["a"])
    with pytest.raises(WriteConflictError):
        replace_documents(collection, documents({"a": 6}, "late"), delete_for=["a"])
    collection.refresh()
    assert ids_in(collection.dataset) == ["b:0", "b:1", "b:2"]


def test_small_writes_of_different_documents_from_one_version_both_land(
    collections: Collections, collection: Collection
) -> None:
    replace_documents(collections.open("docs"), documents({"c": 2}), delete_for=[])
    replace_documents(collection, documents({"d": 2}), delete_for=[])
    collection.refresh()
    assert collection.count_rows() == 10


def test_what_is_there_twice_is_seen_and_healed(
    collections: Collections, collection: Collection
) -> None:
    # Once the version that a late insert started from was cleaned away, Lance may accept it.
    # That is why versions are kept for days, and why every write is verified.
    quick = collections.open("docs")
    replace_documents(quick, documents({"new": 4}, "quick"), delete_for=[])
    replace_documents(quick, documents({"other": 2}), delete_for=[])
    quick.dataset.cleanup_old_versions(older_than=dt.timedelta(0))
    replace_documents(collection, documents({"new": 6}, "late"), delete_for=["new"])

    collection.refresh()
    found = verify_documents(collection, ["new"], collection.version)["new"]
    assert (found.count, found.distinct_ids) == (10, 6)

    remove_documents(collection, ["new"])
    replace_documents(collection, documents({"new": 6}, "late"), delete_for=["new"])
    healed = verify_documents(collection, ["new"], collection.version)["new"]
    assert (healed.count, healed.digest) == (6, digest_of("new", 6, "late"))


def test_lancedb_opens_and_writes_a_collection_and_keeps_its_key(
    collections: Collections, collection: Collection
) -> None:
    table = lancedb.connect(str(collections.root)).open_table("docs")
    assert table.count_rows() == 6
    late = [collections.open("docs") for _ in range(3)]

    table.add(documents({"added": 2}, "lancedb"))
    table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(
        documents({"merged": 2}, "lancedb")
    )
    table.update(where="document_id = 'a'", values={"title": "lancedb"})
    table.delete("document_id = 'b'")
    table.optimize()

    opened = collections.open("docs")
    assert (opened.settings, opened.store_id) == (SETTINGS, STORE_ID)
    assert is_keyed(opened.dataset.schema)
    assert opened.count_rows() == 7
    for document, stale in zip(("merged", "a", "b"), late, strict=True):
        with pytest.raises(WriteConflictError):
            replace_documents(stale, documents({document: 5}, "late"), delete_for=[document])
    replace_documents(opened, documents({"a": 1}, "ours"), delete_for=["a"])
    table.checkout_latest()
    assert table.count_rows() == 5


def assert_whole(dataset: lance.LanceDataset) -> None:
    """Check that every document of `replace` is of one writing, which names its length."""
    rows: dict[str, list[str]] = defaultdict(list)
    versions: set[str] = set()
    for each in dataset.to_table(columns=["id", "document_id", "text"]).to_pylist():
        rows[each["document_id"]].append(each["id"])
        versions.add(each["text"].split()[0])
    if not rows:
        assert dataset.version <= 4, "the rows were lost"
        return
    assert len(versions) == 1, "documents of one commit are of different ones"
    length = int(versions.pop().rsplit(".", 1)[1])
    for document in ("a", "b"):
        assert sorted(rows[document]) == [f"{document}:{index}" for index in range(length)]


def ids_in(dataset: lance.LanceDataset) -> list[str]:
    return sorted(dataset.to_table(columns=["id"])["id"].to_pylist())


def child(command: str, root: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start a process of lance_child.py that waits for the starting signal."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.contract.lance_child", command, str(root)]
        + [str(argument) for argument in arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def let_go(*children: subprocess.Popen[str]) -> None:
    """Give the starting signal once all are ready."""
    for each in children:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in children:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.close()


def finished(each: subprocess.Popen[str]) -> int:
    """Wait for a child's end, and return its exit code."""
    assert each.stdout is not None
    with each.stdout:
        each.stdout.read()
    return each.wait(timeout=START_TIMEOUT_SECONDS)
