"""Collections that stay open: one object a version, and never an old one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from lexigram_ray.core.errors import CollectionNotFoundError
from lexigram_ray.vectors import opened as opened_module
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.opened import OpenedCollections
from lexigram_ray.vectors.writing import replace_documents
from tests.collections_data import SETTINGS, STORE_ID, documents


def test_a_collection_is_opened_once_until_there_is_a_newer_version(tmp_path: Path) -> None:
    writer = Collections(tmp_path).create("docs", SETTINGS, STORE_ID)
    opened = OpenedCollections(tmp_path)
    first = opened.newest("docs")
    again = opened.newest("docs")
    replace_documents(writer, documents({"a": 2}), delete_for=[])
    newer = opened.newest("docs")

    assert again is first
    assert newer is opened.newest("docs")
    assert newer.version > first.version
    # Whoever still searches in the old one is not disturbed.
    assert (first.count_rows(), newer.count_rows()) == (0, 2)


def test_a_collection_that_was_made_anew_is_another_one(tmp_path: Path) -> None:
    collections = Collections(tmp_path)
    opened = OpenedCollections(tmp_path)
    seen: list[int] = []
    for rows in (1, 2, 3):
        made = collections.create("docs", SETTINGS, STORE_ID)
        replace_documents(made, documents({"a": rows}), delete_for=[])
        seen.append(opened.newest("docs").count_rows())
        collections.drop("docs")
        with pytest.raises(CollectionNotFoundError):
            opened.newest("docs")

    assert seen == [1, 2, 3]


def test_only_so_many_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_module, "MOST_OPEN", 2)
    collections = Collections(tmp_path)
    for name in "abc":
        collections.create(name, SETTINGS, STORE_ID)
    opened = OpenedCollections(tmp_path)
    first = opened.newest("a")
    last = [opened.newest(name) for name in "bc"][-1]

    assert opened.newest("c") is last
    assert opened.newest("a") is not first


def test_threads_that_read_beside_a_writer_only_ever_go_forward(tmp_path: Path) -> None:
    writer = Collections(tmp_path).create("docs", SETTINGS, STORE_ID)
    opened = OpenedCollections(tmp_path)
    seen: list[Sequence[int]] = []

    def read() -> None:
        seen.append([opened.newest("docs").count_rows() for _ in range(30)])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for each in readers:
        each.start()
    for number in range(10):
        replace_documents(writer, documents({f"d{number}": 1}), delete_for=[])
    for each in readers:
        each.join()

    assert len(seen) == 3
    assert all(list(each) == sorted(each) for each in seen)
    assert opened.newest("docs").count_rows() == 10
