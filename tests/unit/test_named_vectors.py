"""Vectors by text and model name: exact, for good, and forgotten when nobody asks for them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding import named_vectors
from lexigram_ray.embedding.named_vectors import NamedVectors


def test_vectors_come_back_exactly_and_from_another_object(tmp_path: Path) -> None:
    NamedVectors(tmp_path / "v.db").put({"a": [0.1, 1e300], "b": [1]})
    vectors = NamedVectors(tmp_path / "v.db")
    assert vectors.get(["b", "a", "c"]) == {"a": [0.1, 1e300], "b": [1.0]}
    assert len(vectors) == 2
    assert vectors.clear() == 2
    assert vectors.get(["a"]) == {}


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    vectors = NamedVectors(tmp_path / "folder" / "v.db")
    assert vectors.get(["a"]) == {}
    assert (len(vectors), vectors.clear(), vectors.expire(1)) == (0, 0, 0)
    vectors.put({})
    assert not (tmp_path / "folder").exists()


def test_what_nobody_asks_for_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = NamedVectors(tmp_path / "v.db")
    monkeypatch.setattr(named_vectors, "days_now", lambda: 100)
    vectors.put({"used": [1.0], "unused": [2.0]})
    monkeypatch.setattr(named_vectors, "days_now", lambda: 120)
    vectors.get(["used"])
    assert vectors.expire(10, dry_run=True) == 1
    assert vectors.expire(10) == 1
    assert set(vectors.get(["used", "unused"])) == {"used"}


def test_many_keys_and_many_threads_at_once(tmp_path: Path) -> None:
    def fill(vectors: NamedVectors, first: int) -> None:
        for start in range(first, first + 600, 100):
            vectors.put({str(key): [float(key)] for key in range(start, start + 100)})

    stores = [NamedVectors(tmp_path / "v.db") for _ in range(3)]
    threads = [
        threading.Thread(target=fill, args=(store, 600 * place))
        for place, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [str(key) for key in range(1800)]
    assert stores[0].get(keys) == {key: [float(key)] for key in keys}


def test_a_file_that_is_no_database_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "v.db").write_text("no database" * 100)
    with pytest.raises(EmbeddingError, match=r"v\.db cannot be used") as caught:
        NamedVectors(tmp_path / "v.db").get(["a"])
    assert "remove the file" in (caught.value.hint or "")
