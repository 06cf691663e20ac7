from __future__ import annotations

import errno
import logging

import numpy as np
import pyarrow as pa

from lexigram_ray.embedding import use_notes
from lexigram_ray.embedding.key_index import keys_from_hex
from lexigram_ray.embedding.use_notes import (
    MOST_NOTES,
    UseHistory,
    fold_notes,
    read_notes,
    write_note,
)

KEYS = keys_from_hex([f"{number:032x}" for number in range(4)])


def _note(keys, day, counts=(3, 2)):
    return UseHistory(keys=keys, days=np.full(len(keys), day, np.int32), counts={day: counts})


def _last_used(folder, keys=KEYS):
    return read_notes(folder).last_used(keys, np.zeros(len(keys), np.int32)).tolist()


def test_the_latest_day_counts_in_whatever_order_notes_were_written(tmp_path):
    folder = tmp_path / "a.used"
    write_note(folder, _note(KEYS[:2], 20))
    write_note(folder, _note(KEYS[:3], 10))
    write_note(folder, _note(KEYS[1:2], 30))

    assert _last_used(folder) == [20, 30, 10, 0]
    assert read_notes(folder).counts == {10: (3, 2), 20: (3, 2), 30: (3, 2)}


def test_a_fold_keeps_days_and_counts_and_drops_keys_that_are_gone(tmp_path):
    folder = tmp_path / "a.used"
    for day in (10, 30, 20):
        write_note(folder, _note(KEYS[: day // 10], day))

    fold_notes(folder, keep=lambda keys: keys != KEYS[1])

    assert len(list(folder.iterdir())) == 1
    assert _last_used(folder) == [30, 0, 30, 0]
    assert read_notes(folder).counts == {10: (3, 2), 20: (3, 2), 30: (3, 2)}


def test_there_are_never_many_notes(tmp_path):
    folder = tmp_path / "a.used"

    for _ in range(2 * MOST_NOTES):
        write_note(folder, _note(KEYS, 10))

    assert len(list(folder.iterdir())) <= MOST_NOTES
    assert len(read_notes(folder).keys) <= 4 * MOST_NOTES
    assert read_notes(folder).counts == {10: (6 * MOST_NOTES, 4 * MOST_NOTES)}


def test_a_fold_that_was_interrupted_counts_nothing_twice(tmp_path, monkeypatch):
    folder = tmp_path / "a.used"
    write_note(folder, _note(KEYS, 10))
    write_note(folder, _note(KEYS, 20))
    monkeypatch.setattr(use_notes.Path, "unlink", lambda path, missing_ok: None)

    fold_notes(folder)

    assert len([path for path in folder.iterdir() if path.suffix == ".arrow"]) == 3
    assert read_notes(folder).counts == {10: (3, 2), 20: (3, 2)}


def test_a_fold_beside_a_reader_loses_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "a.used"
    write_note(folder, _note(KEYS, 10))
    write_note(folder, _note(KEYS, 20))
    listed = use_notes._names(folder)
    fold_notes(folder)
    lists = iter([listed])
    names = use_notes._names
    monkeypatch.setattr(use_notes, "_names", lambda folder: next(lists, None) or names(folder))

    assert _last_used(folder) == [20] * 4


def test_a_damaged_note_is_named_and_the_others_count(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "a.used"
    write_note(folder, _note(KEYS, 10))
    next(folder.iterdir()).write_bytes(b"ARROW1\0\0 and no more")
    write_note(folder, _note(KEYS[:1], 20))

    assert _last_used(folder) == [20, 0, 0, 0]
    assert "cannot be read" in caplog.text


def test_no_notes_are_no_use(tmp_path):
    fold_notes(tmp_path / "none.used")

    assert _last_used(tmp_path / "none.used") == [0] * 4


def test_a_note_that_cannot_be_read_now_outlives_a_fold(tmp_path, monkeypatch):
    folder = tmp_path / "a.used"
    write_note(folder, _note(KEYS, 10))
    (unreadable,) = folder.iterdir()
    write_note(folder, _note(KEYS[:1], 20))
    opened = pa.OSFile

    def busy(path, *mode):
        if path == str(unreadable):
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, *mode)

    monkeypatch.setattr(pa, "OSFile", busy)
    fold_notes(folder, keep=lambda keys: np.ones(len(keys), bool))
    monkeypatch.undo()

    assert _last_used(folder) == [20, 10, 10, 10]
    assert read_notes(folder).counts == {10: (3, 2), 20: (3, 2)}
