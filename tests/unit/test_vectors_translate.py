"""Every Lance error that this package knows by its text, provoked for real."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lexigram_ray.core.errors import (
    CollectionNotFoundError,
    DiskFullError,
    IntegrityError,
    WorkerError,
    WriteConflictError,
)
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.search import search
from lexigram_ray.vectors.translate import lance_errors, translate
from lexigram_ray.vectors.writing import (
    remove_documents,
    replace_documents,
    verify_documents,
)
from tests.collections_data import SETTINGS, STORE_ID, digest_of, documents, row, table_of

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    made = Collections(tmp_path / "lancedb").create("docs", SETTINGS, STORE_ID)
    replace_documents(made, documents({"a": 3}), delete_for=[])
    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this root may not mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Collection]:
    # Root may write wherever the file system lets anybody.
    root = os.geteuid() == 0
    disk: Path = request.getfixturevalue("small_disk") if root else tmp_path
    made = Collections(disk).create("docs", SETTINGS, STORE_ID)
    replace_documents(made, documents({"a": 3}), delete_for=[])
    if root:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield made
        return
    folders = [made.path, made.path / "data", made.path / "_versions"]
    for folder in folders:
        folder.chmod(0o500)
    yield made
    for folder in folders:
        folder.chmod(0o700)


def test_a_refused_write_is_a_write_conflict(collection: Collection) -> None:
    other = Collections(collection.path.parent).open("docs")
    replace_documents(other, documents({"a": 2}, "other"), delete_for=["a"])

    with pytest.raises(WriteConflictError, match="collection docs") as write:
        replace_documents(collection, documents({"a": 4}, "late"), delete_for=["a"])
    with pytest.raises(WriteConflictError, match="collection docs"):
        remove_documents(collection, ["a"])
    assert isinstance(write.value.__cause__, OSError)


@needs_root
def test_a_full_disk_is_said_and_the_old_rows_stay(small_disk: Path) -> None:
    collection = Collections(small_disk).create("docs", SETTINGS, STORE_ID)
    replace_documents(collection, documents({"a": 3}), delete_for=[])
    before = collection.version
    noise = np.random.default_rng(0).bytes(6 << 20).hex()
    large = [row("a", index, text=noise[index << 20 : (index + 1) << 20]) for index in range(12)]

    with pytest.raises(DiskFullError, match="no space is left") as full:
        replace_documents(collection, table_of(large), delete_for=["a"])
    assert full.value.hint
    reopened = Collections(small_disk).open("docs")
    assert reopened.version == before
    assert verify_documents(reopened, ["a"], before)["a"].digest == digest_of("a", 3)


@needs_root
def test_a_collection_that_does_not_fit_on_the_disk_leaves_nothing(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * (4 * 1024 * 1024 - 4096))

    with pytest.raises(DiskFullError):
        Collections(small_disk / "lancedb").create("docs", SETTINGS, STORE_ID)
    assert not Collections(small_disk / "lancedb").exists("docs")


def test_a_folder_that_may_not_be_written_to_is_said(unwritable: Collection) -> None:
    with pytest.raises(WorkerError, match="no permission") as refused:
        replace_documents(unwritable, documents({"b": 1}), delete_for=[])
    assert str(unwritable.path) in refused.value.message
    hits = search(unwritable, mode="text", text="passage", vector=None, limit=5, where=None)
    assert len(hits) == 3


def test_a_collection_dropped_meanwhile_is_not_found_and_not_made_again(
    collection: Collection,
) -> None:
    collections = Collections(collection.path.parent)
    reader = collections.open("docs")
    collections.drop("docs")

    with pytest.raises(CollectionNotFoundError, match="no longer there"):
        replace_documents(collection, documents({"a": 4}), delete_for=["a"])
    with pytest.raises(CollectionNotFoundError, match="no longer there"):
        remove_documents(collection, ["a"])
    with pytest.raises(CollectionNotFoundError, match="no longer there"):
        search(reader, mode="text", text="passage", vector=None, limit=1, where=None)
    with pytest.raises(CollectionNotFoundError, match="no longer there"):
        reader.refresh()
    assert not collections.exists("docs")


def test_a_missing_data_file_is_a_damage(collection: Collection) -> None:
    shutil.rmtree(collection.path / "data")
    with pytest.raises(IntegrityError, match="a part of it is missing"):
        search(collection, mode="text", text="passage", vector=None, limit=1, where=None)
    with pytest.raises(IntegrityError, match="a part of it is missing"):
        verify_documents(collection, ["a"], collection.version)


def test_a_version_that_is_not_there_is_a_clear_error(collection: Collection) -> None:
    with pytest.raises(WorkerError, match="collection docs"):
        verify_documents(collection, ["a"], 999)


def test_a_damaged_file_is_a_clear_error(collection: Collection) -> None:
    file = next((collection.path / "data").iterdir())
    file.write_bytes(b"\0" * file.stat().st_size)
    reopened = Collections(collection.path.parent).open("docs")
    with pytest.raises(WorkerError, match="collection docs") as damaged:
        verify_documents(reopened, ["a"], reopened.version)
    assert ".rs:" not in damaged.value.message


def test_a_null_id_is_a_clear_error(collection: Collection) -> None:
    rows = documents({"a": 1})
    nulls = rows.set_column(0, "id", pa.array([None], pa.string()))
    with pytest.raises((WorkerError, ValueError), match="null"):
        replace_documents(collection, nulls, delete_for=[])


def test_errors_that_are_not_lances_pass_through(tmp_path: Path) -> None:
    assert translate(ValueError("mine"), name="docs", path=tmp_path) is None
    with pytest.raises(ValueError, match="mine"), lance_errors("docs", tmp_path):
        raise ValueError("mine")
    with pytest.raises(KeyError), lance_errors("docs", tmp_path):
        raise KeyError("mine")
