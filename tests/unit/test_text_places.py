"""Units embedded in this process: each once, side by side, and stopped when asked to."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexigram_ray.core.errors import DiskFullError
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.jobs.text_places import InProcessPlace
from tests.fakes import HashingProvider
from tests.staged_texts import DISK_FULL, REFUSED, TroublesomeProvider, stage_texts


def place_of(provider: HashingProvider) -> InProcessPlace:
    return InProcessPlace(lambda: CachedEmbedder(lambda: provider, None, provider.spec), "job")


def test_every_unit_ends_once_with_its_rows_and_its_failures(tmp_path: Path) -> None:
    texts = [f"{REFUSED if place == 5 else 'text'} {place}" for place in range(23)]
    units = stage_texts(tmp_path / "staged.arrow", texts, 4)
    place = place_of(TroublesomeProvider(8))
    ended = list(place.run(tmp_path / "staged.arrow", units, keep_on=lambda: True))
    place.close()
    assert sorted(unit.index for unit, _ in ended) == [unit.index for unit in units]
    ids = [row_id for _, execution in ended for row_id in execution.rows.column("id").to_pylist()]
    assert sorted(ids, key=int) == [str(place) for place in range(23) if place != 5]
    assert [list(execution.failures) for unit, execution in ended if unit.index == 1] == [["5"]]


def test_two_units_are_under_way_at_a_time_and_no_more_are_held_than_the_reader_takes(
    tmp_path: Path,
) -> None:
    together = threading.Barrier(2, timeout=20)

    class Meeting(HashingProvider):
        def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
            if "text 0" in texts or "text 1" in texts:
                together.wait()
            return super().embed_texts(texts)

    provider = Meeting(8)
    units = stage_texts(tmp_path / "staged.arrow", [f"text {n}" for n in range(40)], 1)
    place = place_of(provider)
    reading = place.run(tmp_path / "staged.arrow", units, keep_on=lambda: True)
    next(reading)
    time.sleep(0.3)
    assert provider.calls <= 6
    assert len(list(reading)) == 39
    place.close()


def test_it_ends_early_and_soon_once_it_is_not_to_keep_on(tmp_path: Path) -> None:
    units = stage_texts(tmp_path / "staged.arrow", [f"text {n}" for n in range(20)], 1)
    place = place_of(TroublesomeProvider(8, seconds=0.4))
    stopping = threading.Event()
    ended = []
    for unit, _ in place.run(
        tmp_path / "staged.arrow", units, keep_on=lambda: not stopping.is_set()
    ):
        ended.append(unit)
        stopping.set()
    started = time.monotonic()
    place.close()
    assert len(ended) == 1
    assert time.monotonic() - started < 3


def test_an_error_of_the_machine_ends_the_run_as_it_is(tmp_path: Path) -> None:
    units = stage_texts(tmp_path / "staged.arrow", ["a", DISK_FULL, "b"], 1)
    place = place_of(TroublesomeProvider(8))
    with pytest.raises(DiskFullError):
        list(place.run(tmp_path / "staged.arrow", units, keep_on=lambda: True))
    place.close()


def test_closing_writes_what_the_cache_holds_back(tmp_path: Path) -> None:
    provider = HashingProvider(8)
    units = stage_texts(tmp_path / "staged.arrow", ["a", "b", "c"], 3)

    def make() -> CachedEmbedder:
        return CachedEmbedder(
            lambda: provider, EmbeddingCache(tmp_path / "cache", provider.spec), provider.spec
        )

    place = InProcessPlace(make, "job")
    list(place.run(tmp_path / "staged.arrow", units, keep_on=lambda: True))
    place.close()
    assert len(EmbeddingCache(tmp_path / "cache", provider.spec)) == 3
