from __future__ import annotations

import datetime as dt
import errno
import multiprocessing
import shutil
import time
from pathlib import Path

import lance
import numpy as np
import pytest

from lexigram_ray.core.errors import DiskFullError, EmbeddingError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.embedding import cache_cleaning, cache_clearing
from lexigram_ray.embedding.cache import EmbeddingCache, days_now
from lexigram_ray.embedding.cache_cleaning import clean_cache
from lexigram_ray.embedding.cache_clearing import clear_cache, upkeep_lock
from lexigram_ray.embedding.cache_expiry import CleanLimits
from lexigram_ray.embedding.cache_figures import cache_figures
from lexigram_ray.embedding.fingerprint import fingerprint
from tests.fakes import HashingProvider

PROVIDER = HashingProvider(16)
SPEC = PROVIDER.spec
TODAY = days_now()


def _texts(count: int, prefix: str) -> tuple[list[str], np.ndarray]:
    texts = [f"{prefix} {number}" for number in range(count)]
    return [hash_text(text) for text in texts], PROVIDER.embed_texts(texts)


def _put(root: Path, count: int, prefix: str, *, ago: int = 0) -> EmbeddingCache:
    cache = EmbeddingCache(root, SPEC, today=lambda: TODAY - ago)
    cache.put(*_texts(count, prefix))
    cache.close()
    return cache


def _use(root: Path, count: int, prefix: str, *, ago: int = 0) -> int:
    cache = EmbeddingCache(root, SPEC, today=lambda: TODAY - ago)
    found, vectors = cache.lookup(_texts(count, prefix)[0])
    np.testing.assert_array_equal(vectors[found], _texts(count, prefix)[1][found])
    cache.close()
    return int(found.sum())


def _work(root: Path, name: str, seconds: float, failed) -> None:
    """Look up and put the same and new texts; whatever is found must be right."""
    try:
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
        cache = EmbeddingCache(root, SPEC)
        number = 0
        while dt.datetime.now(dt.UTC) < end:
            for prefix in (f"{name} {number}", "shared"):
                hashes, vectors = _texts(40, prefix)
                found, kept = cache.lookup(hashes)
                np.testing.assert_array_equal(kept[found], vectors[found])
                missing = np.flatnonzero(~found)
                cache.put([hashes[place] for place in missing], vectors[missing])
                cache.flush()
            number += 1
        cache.close()
    except BaseException as error:
        failed.put(f"{type(error).__name__}: {error}")
        raise


def test_repeated_rows_go_and_small_writes_become_one_file(tmp_path):
    for _ in range(3):
        cache = EmbeddingCache(tmp_path, SPEC)
        cache.put(*_texts(50, "a"))
        cache.flush()

    [cleaned] = clean_cache(tmp_path)

    assert (cleaned.rows_before, cleaned.rows_after, cleaned.repeated) == (150, 50, 100)
    assert cleaned.bytes_after < cleaned.bytes_before
    assert cleaned.bytes_waiting > 0
    assert cleaned.model == SPEC.name
    assert len(lance.dataset(str(cache.path)).get_fragments()) == 1
    assert _use(tmp_path, 50, "a") == 50


def test_what_is_old_goes_and_what_is_in_use_stays(tmp_path):
    _put(tmp_path, 10, "used", ago=100)
    _put(tmp_path, 20, "unused", ago=100)
    _put(tmp_path, 30, "new", ago=5)
    _use(tmp_path, 10, "used", ago=3)

    [cleaned] = clean_cache(tmp_path, CleanLimits(unused_for_days=90), today=TODAY)

    assert (cleaned.rows_after, cleaned.expired) == (40, 20)
    assert _use(tmp_path, 10, "used") == 10
    assert _use(tmp_path, 20, "unused") == 0
    [cleaned] = clean_cache(tmp_path, CleanLimits(older_than_days=90), today=TODAY)
    assert (cleaned.rows_after, cleaned.expired) == (30, 10)


def test_the_size_is_held_by_dropping_what_was_used_longest_ago_and_no_more_the_next_time(tmp_path):
    _put(tmp_path, 1000, "old", ago=9)
    _put(tmp_path, 1000, "new", ago=5)
    [before] = clean_cache(tmp_path, today=TODAY)
    limits = CleanLimits(max_bytes=before.bytes_after * 6 // 10)

    [cleaned] = clean_cache(tmp_path, limits, today=TODAY)
    [again] = clean_cache(tmp_path, limits, today=TODAY)

    assert cleaned.bytes_after <= before.bytes_after * 0.65
    assert 1100 < cleaned.rows_after < 1300
    assert again.rows_before - again.rows_after < 60
    assert _use(tmp_path, 1000, "new") == 1000


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path):
    _put(tmp_path, 20, "old", ago=100)
    path = _put(tmp_path, 30, "new").path
    version = lance.dataset(str(path)).version
    limits = CleanLimits(unused_for_days=90)

    [planned] = clean_cache(tmp_path, limits, today=TODAY, dry_run=True)

    assert lance.dataset(str(path)).version == version
    [cleaned] = clean_cache(tmp_path, limits, today=TODAY)
    assert (
        (planned.rows_after, planned.expired) == (cleaned.rows_after, cleaned.expired) == (30, 20)
    )


def test_a_reader_goes_on_with_the_version_that_it_opened(tmp_path):
    reader = _put(tmp_path, 100, "a")
    _put(tmp_path, 100, "b")

    clean_cache(tmp_path, CleanLimits(max_bytes=0))

    hashes, vectors = _texts(100, "a")
    np.testing.assert_array_equal(reader.lookup(hashes)[1], vectors)
    assert not EmbeddingCache(tmp_path, SPEC).contains(hashes).any()


@pytest.mark.slow
def test_cleaning_and_clearing_beside_writers_gives_no_error_and_no_foreign_vector(tmp_path):
    _put(tmp_path, 100, "shared")
    context = multiprocessing.get_context("spawn")
    failed = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(tmp_path, name, 4.0, failed)) for name in ("a", "b")
    ]
    for worker in workers:
        worker.start()

    rounds = 0
    while any(worker.is_alive() for worker in workers):
        clean_cache(tmp_path, CleanLimits(max_bytes=20_000))
        if rounds % 4 == 3:
            clear_cache(tmp_path, SPEC)
        rounds += 1
    for worker in workers:
        worker.join()

    assert failed.empty(), failed.get()
    assert rounds > 5
    _put(tmp_path, 100, "shared")
    assert _use(tmp_path, 100, "shared") == 100


def test_a_cleared_cache_begins_anew_under_those_who_have_it_open(tmp_path):
    cache = _put(tmp_path, 100, "a")
    other = HashingProvider(32)
    kept = EmbeddingCache(tmp_path, other.spec)

    assert clear_cache(tmp_path, SPEC) == [fingerprint(SPEC)]

    assert not cache.path.exists()
    hashes, vectors = _texts(100, "a")
    assert not cache.lookup(hashes)[0].any()
    cache.put(hashes, vectors)
    cache.flush()
    np.testing.assert_array_equal(EmbeddingCache(tmp_path, SPEC).lookup(hashes)[1], vectors)
    assert kept.path.exists()
    assert len(clear_cache(tmp_path)) == 2
    assert clear_cache(tmp_path / "none") == []


def test_the_figures_say_what_a_cache_holds_and_how_often_it_helped(tmp_path):
    _put(tmp_path, 40, "a", ago=30)
    _put(tmp_path, 40, "a", ago=20)
    _use(tmp_path, 60, "a", ago=10)
    _use(tmp_path, 20, "a", ago=0)

    [figures] = cache_figures(tmp_path)

    day = dt.date(1970, 1, 1) + dt.timedelta(days=TODAY)
    assert (figures.model, figures.precision, figures.fingerprint) == (
        SPEC.name,
        "fp32",
        fingerprint(SPEC),
    )
    assert (figures.rows, figures.distinct, figures.versions) == (80, 40, 3)
    assert figures.bytes > 80 * 64
    assert figures.created_first == day - dt.timedelta(days=30)
    assert figures.created_last == day - dt.timedelta(days=20)
    assert figures.last_used == day
    assert (figures.lookups, figures.hits, figures.hit_rate) == (80, 60, 0.75)
    assert figures.to_dict()["days"] == [
        {"day": (day - dt.timedelta(days=10)).isoformat(), "lookups": 60, "hits": 40},
        {"day": day.isoformat(), "lookups": 20, "hits": 20},
    ]


def test_tables_of_earlier_versions_and_damaged_ones_do_not_hide_the_others(tmp_path, caplog):
    path = _put(tmp_path, 5, "a").path
    old = tmp_path / f"{'a' * 32}.lance"
    lance.write_dataset(lance.dataset(str(path)).to_table().replace_schema_metadata(None), str(old))
    damaged = tmp_path / f"{'b' * 32}.lance"
    shutil.copytree(path, damaged)
    for file in (damaged / "_versions").iterdir():
        file.write_bytes(b"garbage")

    figures = cache_figures(tmp_path)
    cleaned = clean_cache(tmp_path)

    assert [(each.model, each.rows) for each in figures] == [("", 5), (SPEC.name, 5)]
    assert [each.rows_after for each in cleaned] == [5, 5]
    assert "b" * 32 in caplog.text
    assert cache_figures(tmp_path / "none") == clean_cache(tmp_path / "none") == []


def test_clearing_waits_until_a_clean_up_has_ended(tmp_path, monkeypatch):
    path = _put(tmp_path, 5, "a").path
    monkeypatch.setattr(cache_clearing, "LOCK_PATIENCE_SECONDS", 0.1)

    with upkeep_lock(tmp_path), pytest.raises(EmbeddingError, match="held the lock"):
        clear_cache(tmp_path)

    assert path.exists()
    assert clear_cache(tmp_path) == [path.stem]


def test_what_was_set_aside_goes_with_its_cache_or_after_a_week(tmp_path):
    path = _put(tmp_path, 5, "a").path
    now = time.time_ns()
    names = [
        f"{path.name}.damaged-{now}",
        f"{'b' * 32}.lance.damaged-{now}",
        f"{'c' * 32}.lance.damaged-{now - 8 * 86_400 * 10**9}",
        f"{'d' * 32}.lance.damaged-by-me",
    ]
    for name in names:
        (tmp_path / name / "data").mkdir(parents=True)

    clean_cache(tmp_path)
    assert [name for name in names if (tmp_path / name).exists()] == [*names[:2], names[3]]
    assert clear_cache(tmp_path, SPEC) == [path.stem]
    assert [name for name in names if (tmp_path / name).exists()] == [names[1], names[3]]
    assert clear_cache(tmp_path) == ["b" * 32]
    assert [name for name in names if (tmp_path / name).exists()] == [names[3]]


def test_on_a_full_disk_old_versions_of_every_cache_are_freed_before_it_is_said(
    tmp_path, monkeypatch
):
    paths = [_put(tmp_path, 50, "a").path]
    clean_cache(tmp_path)
    other = tmp_path / f"{'f' * 32}.lance"
    shutil.copytree(paths[0], other)
    paths.append(other)
    for path in paths:
        lance.dataset(str(path)).delete("true")
    assert all(any((path / "data").iterdir()) for path in paths)

    def full(table, row_ids):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_cleaning, "_delete", full)
    monkeypatch.setattr(cache_cleaning, "KEEP_VERSIONS", dt.timedelta(0))
    with pytest.raises(DiskFullError):
        clean_cache(tmp_path)

    assert not any(any((path / "data").iterdir()) for path in paths)
