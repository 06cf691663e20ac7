from __future__ import annotations

import numpy as np

from lexigram_ray.embedding.key_index import keys_from_hex
from lexigram_ray.embedding.use_notes import read_notes
from lexigram_ray.embedding.use_tally import NOTE_AFTER_SECONDS, UseTally

KEYS = keys_from_hex([f"{number:032x}" for number in range(4)])


class Time:
    day = 100
    seconds = 0.0


def _tally(folder):
    return UseTally(folder, today=lambda: Time.day, clock=lambda: Time.seconds)


def test_a_row_is_noted_once_a_day_and_again_on_the_next(tmp_path, monkeypatch):
    tally = _tally(tmp_path)
    rows = np.array([0, 3])
    for _ in range(3):
        tally.use(rows, KEYS[rows])
        tally.count(5, 2)
    monkeypatch.setattr(Time, "day", 101)
    tally.count(7, 0)
    tally.use(rows, KEYS[rows])
    tally.write()

    notes = read_notes(tmp_path)
    assert notes.days.tolist() == [100, 100, 101, 101]
    assert notes.counts == {100: (15, 6), 101: (7, 0)}


def test_a_process_that_is_killed_loses_a_minute_of_notes_at_most(tmp_path, monkeypatch):
    tally = _tally(tmp_path)
    tally.count(5, 2)
    tally.write_if_due()
    assert read_notes(tmp_path).counts == {}

    monkeypatch.setattr(Time, "seconds", NOTE_AFTER_SECONDS)
    tally.write_if_due()
    tally.write()

    assert read_notes(tmp_path).counts == {100: (5, 2)}
    assert len(list(tmp_path.iterdir())) == 1


def test_rows_that_moved_are_noted_anew(tmp_path):
    tally = _tally(tmp_path)
    tally.use(np.array([1]), KEYS[:1])
    tally.forget_rows()
    tally.use(np.array([1]), KEYS[1:2])
    tally.count(2, 2)
    tally.write()

    assert len(read_notes(tmp_path).keys) == 2
