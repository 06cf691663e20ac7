from __future__ import annotations

import datetime as dt
import logging
import multiprocessing
import shutil
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.embedding.cache import FLUSH_SECONDS, EmbeddingCache
from lexigram_ray.embedding.cache_edge import DamagedTableError
from lexigram_ray.embedding.cache_table import CacheTable
from lexigram_ray.embedding.key_index import keys_from_hex
from lexigram_ray.embedding.use_notes import notes_folder, read_notes
from tests.fakes import HashingProvider

PROVIDER = HashingProvider(16)
SPEC = PROVIDER.spec


def _texts(count: int, prefix: str = "text") -> tuple[list[str], np.ndarray]:
    texts = [f"{prefix} {number}" for number in range(count)]
    return [hash_text(text) for text in texts], PROVIDER.embed_texts(texts)


def _filled(root: Path, count: int = 100, prefix: str = "text") -> EmbeddingCache:
    cache = EmbeddingCache(root, SPEC)
    cache.put(*_texts(count, prefix))
    cache.flush()
    return cache


def _write_one_by_one(root: Path, prefix: str, count: int) -> None:
    cache = EmbeddingCache(root, SPEC)
    hashes, vectors = _texts(count, prefix)
    for place in range(count):
        cache.put(hashes[place : place + 1], vectors[place : place + 1])
        cache.flush()


def test_vectors_survive_a_restart_bit_for_bit(tmp_path):
    _filled(tmp_path)
    hashes, vectors = _texts(120)

    found, kept = EmbeddingCache(tmp_path, SPEC).lookup(hashes)

    assert found.tolist() == [True] * 100 + [False] * 20
    np.testing.assert_array_equal(kept[:100], vectors[:100])
    assert not kept[100:].any()


def test_what_is_put_is_found_before_it_is_on_disk(tmp_path):
    cache = EmbeddingCache(tmp_path, SPEC)
    hashes, vectors = _texts(3)
    cache.put(hashes, vectors)

    found, kept = cache.lookup([*hashes, hash_text("other")])

    assert found.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(kept[:3], vectors)
    assert not EmbeddingCache(tmp_path, SPEC).lookup(hashes)[0].any()


def test_repeated_hashes_and_any_order_are_looked_up(tmp_path):
    cache = _filled(tmp_path)
    hashes, vectors = _texts(100)
    order = [99, 3, 3, 0, 99]

    found, kept = cache.lookup([hashes[place] for place in order])

    assert found.all()
    np.testing.assert_array_equal(kept, vectors[order])


def test_another_processes_vectors_are_seen_after_a_refresh(tmp_path):
    reader = _filled(tmp_path, prefix="mine")
    _filled(tmp_path, prefix="theirs")
    theirs, vectors = _texts(100, "theirs")
    assert not reader.lookup(theirs)[0].any()

    reader.refresh()

    np.testing.assert_array_equal(reader.lookup(theirs)[1], vectors)


def test_processes_that_begin_and_append_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_write_one_by_one, args=(tmp_path, prefix, 15))
        for prefix in ("a", "b", "c")
    ]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    cache = EmbeddingCache(tmp_path, SPEC)
    for prefix in ("a", "b", "c"):
        hashes, vectors = _texts(15, prefix)
        found, kept = cache.lookup(hashes)
        assert found.all()
        np.testing.assert_array_equal(kept, vectors)


def test_a_compaction_beneath_an_open_cache_moves_rows_and_harms_nothing(tmp_path):
    cache = _filled(tmp_path, prefix="a")
    other = _filled(tmp_path, prefix="b")
    table = lance.dataset(str(cache.path))
    table.optimize.compact_files()
    table.delete(f"key = X'{_texts(1, 'a')[0][0]}'")
    table.cleanup_old_versions(older_than=dt.timedelta(0))

    hashes, vectors = _texts(100, "b")
    for each in (cache, other):
        each.refresh()
        np.testing.assert_array_equal(each.lookup(hashes)[1], vectors)

    assert not cache.lookup(_texts(1, "a")[0])[0].any()


def test_files_that_a_clean_up_removed_are_read_from_the_newest_version(tmp_path):
    _filled(tmp_path, prefix="a")
    cache = _filled(tmp_path, prefix="b")
    table = lance.dataset(str(cache.path))
    table.optimize.compact_files()
    table.cleanup_old_versions(older_than=dt.timedelta(0))
    hashes, vectors = _texts(100, "b")

    np.testing.assert_array_equal(cache.lookup(hashes)[1], vectors)


@pytest.mark.parametrize("damage", ["data", "manifest", "foreign", "not a table"])
def test_a_table_that_cannot_be_used_is_set_aside_and_said(tmp_path, caplog, damage):
    path = _filled(tmp_path).path
    if damage == "data":
        for file in (path / "data").iterdir():
            file.write_bytes(file.read_bytes()[:100])
    elif damage == "manifest":
        for file in (path / "_versions").iterdir():
            file.write_bytes(b"garbage")
    else:
        shutil.rmtree(path)
        if damage == "foreign":
            lance.write_dataset(pa.table({"other": [1, 2]}), str(path))
        else:
            path.mkdir()
            (path / "notes.txt").write_text("mine")

    with caplog.at_level(logging.WARNING):
        cache = EmbeddingCache(tmp_path, SPEC)

    assert not cache.lookup(_texts(1)[0])[0].any()
    assert "cannot be used" in caplog.text
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    cache.put(*_texts(5))
    cache.flush()
    assert EmbeddingCache(tmp_path, SPEC).lookup(_texts(5)[0])[0].all()


def test_vectors_lost_while_the_cache_is_open_are_misses_and_said(tmp_path, caplog):
    cache = _filled(tmp_path)
    for file in (cache.path / "data").iterdir():
        file.write_bytes(b"")

    with caplog.at_level(logging.WARNING):
        found, _ = cache.lookup(_texts(100)[0])

    assert not found.any()
    assert "cannot be used" in caplog.text


def test_a_table_that_vanishes_under_an_open_cache_begins_anew(tmp_path):
    cache = _filled(tmp_path)
    shutil.rmtree(cache.path)
    hashes, vectors = _texts(5, "new")
    cache.put(hashes, vectors)

    cache.flush()

    np.testing.assert_array_equal(EmbeddingCache(tmp_path, SPEC).lookup(hashes)[1], vectors)


def test_a_vector_that_is_not_finite_is_a_miss_and_its_replacement_counts(tmp_path):
    cache = EmbeddingCache(tmp_path, SPEC)
    hashes, vectors = _texts(2)
    cache.put(hashes, np.full((2, 16), np.nan))
    cache.flush()
    assert not EmbeddingCache(tmp_path, SPEC).lookup(hashes)[0].any()
    cache.put(hashes, vectors)
    cache.flush()

    np.testing.assert_array_equal(EmbeddingCache(tmp_path, SPEC).lookup(hashes)[1], vectors)


def test_the_last_use_is_noted_to_the_day_and_no_vector_is_written_again(tmp_path):
    hashes, vectors = _texts(3)
    made = EmbeddingCache(tmp_path, SPEC, today=lambda: 20_000)
    made.put(hashes, vectors)
    made.close()

    for day, used in ((20_001, hashes), (20_003, hashes[:2])):
        user = EmbeddingCache(tmp_path, SPEC, today=lambda day=day: day)
        user.lookup(used)
        user.lookup([*used, hash_text("other")])
        user.close()

    assert lance.dataset(str(made.path)).count_rows() == 3
    notes = read_notes(notes_folder(made.path))
    written = np.full(4, 20_000, np.int32)
    keys = keys_from_hex([*hashes, hash_text("other")])
    assert notes.last_used(keys, written).tolist() == [20_003, 20_003, 20_001, 20_000]
    assert notes.counts == {20_001: (7, 6), 20_003: (5, 4)}
    assert len(notes.keys) == 5


def test_an_interrupted_run_loses_seconds_of_work_only(tmp_path):
    now = [0.0]
    cache = EmbeddingCache(tmp_path, SPEC, clock=lambda: now[0])
    hashes, vectors = _texts(3)
    cache.put(hashes[:1], vectors[:1])
    now[0] = FLUSH_SECONDS - 1
    cache.put(hashes[1:2], vectors[1:2])
    assert not EmbeddingCache(tmp_path, SPEC).contains(hashes).any()

    now[0] = FLUSH_SECONDS
    cache.lookup(hashes[2:])

    assert EmbeddingCache(tmp_path, SPEC).contains(hashes).tolist() == [True, True, False]


def test_a_plan_sees_what_is_on_disk_and_what_waits(tmp_path):
    cache = _filled(tmp_path, 5)
    cache.put(*_texts(2, "waiting"))

    hashes = [*_texts(6)[0], *_texts(3, "waiting")[0]]

    assert cache.contains(hashes).tolist() == [True] * 5 + [False, True, True, False]
    assert cache.contains([]).tolist() == []


def test_an_equal_looking_table_in_place_of_the_known_one_gives_no_foreign_vectors(tmp_path):
    cache = _filled(tmp_path, prefix="a")
    shutil.rmtree(cache.path)
    _filled(tmp_path, prefix="b")

    cache.refresh()

    assert not cache.lookup(_texts(100, "a")[0])[0].any()
    hashes, vectors = _texts(100, "b")
    np.testing.assert_array_equal(cache.lookup(hashes)[1], vectors)


def test_rows_are_compared_with_their_keys_before_they_are_believed(tmp_path):
    table, keys = CacheTable.open(_filled(tmp_path).path, SPEC)

    np.testing.assert_array_equal(table.read(np.array([3, 1]), keys[[3, 1]]), _texts(4)[1][[3, 1]])
    with pytest.raises(DamagedTableError, match="not where its keys say"):
        table.read(np.array([3, 1]), keys[[1, 3]])


def test_a_table_of_an_earlier_version_goes_on(tmp_path):
    hashes, vectors = _texts(10)
    path = _filled(tmp_path, 5).path
    old = lance.dataset(str(path)).to_table().replace_schema_metadata(None)
    shutil.rmtree(path)
    lance.write_dataset(old, str(path))

    cache = EmbeddingCache(tmp_path, SPEC)
    cache.put(hashes[5:], vectors[5:])
    cache.flush()

    np.testing.assert_array_equal(EmbeddingCache(tmp_path, SPEC).lookup(hashes)[1], vectors)


def test_a_cache_whose_use_cannot_be_noted_still_answers(tmp_path, caplog):
    cache = _filled(tmp_path)
    notes_folder(cache.path).write_text("in the way")
    hashes, vectors = _texts(100)

    np.testing.assert_array_equal(cache.lookup(hashes)[1], vectors)
    cache.close()

    assert "was not noted" in caplog.text


def test_vectors_of_the_wrong_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match="shape"):
        EmbeddingCache(tmp_path, SPEC).put(_texts(2)[0], np.zeros((2, 8), np.float32))


def test_models_do_not_share_a_table(tmp_path):
    _filled(tmp_path)
    other = HashingProvider(32)

    assert not EmbeddingCache(tmp_path, other.spec).lookup(_texts(5)[0])[0].any()


def test_a_page_that_the_disk_has_lost_is_misses_and_said(tmp_path, caplog):
    cache = _filled(tmp_path, 1000)
    (file,) = (cache.path / "data").iterdir()
    content = bytearray(file.read_bytes())
    hashes, vectors = _texts(1000)
    row = content.find(vectors[500].tobytes())
    assert row > 0, "vectors lie in the file as they are"
    content[row : row + 640] = bytes(640)
    file.write_bytes(content)

    found, kept = EmbeddingCache(tmp_path, SPEC).lookup(hashes)

    assert found.tolist() == [not 500 <= place < 510 for place in range(1000)]
    np.testing.assert_array_equal(kept[found], vectors[found])
    assert "10 vectors not of length 1" in caplog.text


def test_a_new_table_of_another_process_is_not_set_aside_for_the_old_ones_damage(
    tmp_path, monkeypatch
):
    cache = _filled(tmp_path, prefix="old")
    read, failures = CacheTable.read, iter(range(2))

    def fail_twice(table, rows, keys):
        if (failure := next(failures, None)) is None:
            return read(table, rows, keys)
        if failure == 1:
            shutil.rmtree(cache.path)
            _filled(tmp_path, prefix="new")
        raise DamagedTableError("lost")

    monkeypatch.setattr(CacheTable, "read", fail_twice)
    assert not cache.lookup(_texts(100, "old")[0])[0].any()
    monkeypatch.undo()

    hashes, vectors = _texts(100, "new")
    np.testing.assert_array_equal(cache.lookup(hashes)[1], vectors)
    assert not list(tmp_path.glob("*.damaged-*"))


def test_damage_that_lasts_is_set_aside(tmp_path, monkeypatch):
    cache = _filled(tmp_path)

    def fail(table, rows, keys):
        raise DamagedTableError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(CacheTable, "read", fail)
        assert not cache.lookup(_texts(100)[0])[0].any()

    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    cache.put(*_texts(5))
    cache.flush()
    assert EmbeddingCache(tmp_path, SPEC).lookup(_texts(5)[0])[0].all()


def test_a_folder_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path):
    (tmp_path / "cache").write_text("in the way")

    with pytest.raises(EmbeddingError, match="is not accessible") as caught:
        EmbeddingCache(tmp_path / "cache", SPEC)

    assert not isinstance(caught.value, DamagedTableError)
    assert "embedding.cache=false" in (caught.value.hint or "")
