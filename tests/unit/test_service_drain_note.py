"""The note that a service is ending: replicas see it soon, and never believe an old one."""

from __future__ import annotations

from pathlib import Path

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.service.drain_note import (
    LOOK_SECONDS,
    EndingWatch,
    forget_ending,
    note_ending,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def config_of(folder: Path) -> WorkersConfig:
    return WorkersConfig(state_dir=folder)


def test_a_replica_sees_the_note_at_its_next_look(tmp_path: Path) -> None:
    config, clock = config_of(tmp_path), Clock()
    is_ending = EndingWatch(config, now=clock)
    assert not is_ending()

    note_ending(config, 60.0, now=clock)
    assert not is_ending()
    clock.now += LOOK_SECONDS
    assert is_ending()

    forget_ending(config)
    clock.now += LOOK_SECONDS
    assert not is_ending()


def test_a_note_that_was_left_behind_counts_no_more(tmp_path: Path) -> None:
    config, clock = config_of(tmp_path), Clock()
    note_ending(config, 60.0, now=clock)
    clock.now += 60.0
    assert not EndingWatch(config, now=clock)()


def test_a_clock_that_is_set_back_does_not_stop_the_looking(tmp_path: Path) -> None:
    config, clock = config_of(tmp_path), Clock()
    is_ending = EndingWatch(config, now=clock)
    assert not is_ending()
    clock.now -= 500.0
    note_ending(config, 60.0, now=clock)
    assert is_ending()


def test_what_is_no_note_is_no_end(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    (tmp_path / "service-ending.json").write_text("[}")
    assert not EndingWatch(config)()
    forget_ending(config)
    forget_ending(config)


def test_the_note_lies_where_all_nodes_look(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    writer = WorkersConfig(state_dir=tmp_path / "one", data_uri=str(shared))
    reader = WorkersConfig(state_dir=tmp_path / "two", data_uri=str(shared))
    note_ending(writer, 60.0)
    assert EndingWatch(reader)()
