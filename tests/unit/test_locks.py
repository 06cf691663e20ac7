from __future__ import annotations

import logging
import threading

import pytest

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding import locks
from lexigram_ray.embedding.locks import exclusive_lock, shared_lock


def test_a_lock_that_is_never_let_go_is_said_once_and_then_an_error(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(locks, "WARN_AFTER_SECONDS", 0.05)
    path = tmp_path / "lock"

    with (
        exclusive_lock(path),
        pytest.raises(EmbeddingError, match="another process has held the lock") as caught,
        shared_lock(path, patience=0.2),
    ):
        pytest.fail("two hold it")

    assert str(path) in str(caught.value)
    assert caught.value.hint
    said = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [str(path) in record.getMessage() for record in said] == [True]


def test_whoever_waits_has_the_lock_once_it_is_let_go(tmp_path):
    held, let_go = threading.Event(), threading.Event()

    def hold():
        with exclusive_lock(tmp_path / "lock"):
            held.set()
            let_go.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(5)
    threading.Timer(0.05, let_go.set).start()

    with exclusive_lock(tmp_path / "lock", patience=5):
        assert let_go.is_set()
    holder.join()


def test_a_shared_lock_is_shared(tmp_path):
    with shared_lock(tmp_path / "lock"), shared_lock(tmp_path / "lock", patience=0):
        pass
