"""What never ends is ended, found and set aside; its neighbours go on."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.ids import document_id, hash_file, hash_text
from lexigram_ray.core.job_logging import JobTag
from lexigram_ray.core.types import ChunkerSpec, Document, FileStamp, Outcome
from lexigram_ray.jobs.executor import Executed
from lexigram_ray.jobs.pool import BATCH_BYTES
from lexigram_ray.jobs.recipes import GivenModel, Recipe
from lexigram_ray.jobs.staged import StagedUnit
from lexigram_ray.jobs.text_executor import RowsExecution
from lexigram_ray.jobs.work import Dispatcher
from lexigram_ray.runtime import patience
from lexigram_ray.runtime.careful import CarefulRun
from lexigram_ray.runtime.pickled_recipe import PickledRecipe
from lexigram_ray.runtime.pipeline import RayDataPlace
from lexigram_ray.runtime.pool_size import PoolSize
from lexigram_ray.runtime.ray_pool import RayPool
from lexigram_ray.runtime.warm import WarmPlace
from tests.fakes import HashingProvider
from tests.integration.local_ray import local_ray
from tests.staged_texts import recipe_of, stage_texts

__all__ = ["local_ray"]

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

ENDLESS = "endless"
HOURS = 3600.0
# What a text may take; a fresh process beside other tests takes seconds for its first one.
LIMIT = 8.0
LOAD_SECONDS = LIMIT + 2


class EndlessProvider(HashingProvider):
    """A model that never comes back from one text."""

    def __reduce__(self) -> tuple[object, ...]:
        return EndlessProvider, (self.spec.dimension,)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if any(ENDLESS in text for text in texts):
            time.sleep(HOURS)
        return super().embed_texts(texts)


class SlowToLoad(HashingProvider):
    """A model that takes a while to load, and is as fast as any other then."""

    def __reduce__(self) -> tuple[object, ...]:
        return _load_slowly, (self.spec.dimension,)


def _load_slowly(dimension: int) -> SlowToLoad:
    time.sleep(LOAD_SECONDS)
    return SlowToLoad(dimension)


def _settings(state: Path, unit_seconds: float) -> WorkersConfig:
    return WorkersConfig(
        state_dir=state,
        embedding={"cache": False},
        jobs={"unit_seconds": unit_seconds, "crash_budget": 1},
    )


def _executed_carefully(
    state: Path, provider: HashingProvider, path: Path, units: Sequence[StagedUnit]
) -> list[RowsExecution]:
    careful = CarefulRun(
        _settings(state, unit_seconds=LIMIT),
        PickledRecipe.of(recipe_of(provider)),
        PoolSize(embedders=1, per_node=1, cpus=0.5, gpus=0),
        job=JobTag(job_id="job", collection="tests"),
    )
    return [execution for _, execution in careful.run(path, units, keep_on=lambda: True)]


def _document(path: Path) -> Document:
    # Of a size that makes each a batch of its own; the parser does not ask for it.
    content = hash_text(path.name) if path.is_fifo() else hash_file(path)
    return Document(
        document_id=document_id(path),
        path=str(path),
        source=str(path),
        stamp=FileStamp(size=BATCH_BYTES, mtime_ns=1, ctime_ns=1, inode=1),
        content_hash=content,
    )


def test_a_document_that_hangs_its_worker_or_the_embedder_is_quarantined_and_no_other(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.txt").write_text(f"The text of document {number}.")
    (folder / "2.txt").write_text(f"An {ENDLESS} text.")
    (folder / "4.txt").unlink()
    os.mkfifo(folder / "4.txt")  # whoever opens it waits for a writer
    provider = EndlessProvider(16)
    recipe = Recipe(
        GivenModel(spec=provider.spec, provider=provider),
        ChunkerSpec(strategy="characters", size=200, overlap=0),
    )
    crashes: Counter[str] = Counter()

    def count_crash(document: str) -> int:
        crashes[document] += 1
        return crashes[document]

    config = _settings(tmp_path / "state", unit_seconds=LIMIT)
    pool = RayPool(config, recipe, collection="tests", job_id="job", cpus=2)
    ended: list[Executed] = []
    try:
        dispatcher = Dispatcher(pool, count_crash=count_crash, crash_budget=1)
        documents = [_document(folder / f"{number}.txt") for number in range(5)]
        for execution in dispatcher.run(documents, lambda: True):
            ended.extend(execution.units)
    finally:
        pool.close()

    assert sorted(unit.document.path for unit in ended) == [each.path for each in documents]
    failed = {Path(unit.document.path).name: unit.failure for unit in ended if unit.failure}
    assert sorted(failed) == ["2.txt", "4.txt"]
    for failure in failed.values():
        assert failure.code == "timed_out"
        assert (
            f"1 times while it was executed alone: it took longer than {LIMIT:g} s"
            in failure.reason
        )
    assert sum(unit.outcome is Outcome.INGESTED for unit in ended) == 3
    assert set(crashes) == {document_id(folder / name) for name in failed}


def test_a_text_that_hangs_the_embedder_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, ["a", f"an {ENDLESS} text", "b", "c"], 2)

    ended = _executed_carefully(tmp_path, EndlessProvider(16), path, units)

    rows = [row_id for execution in ended for row_id in execution.rows["id"].to_pylist()]
    assert rows == ["0", "2", "3"]
    assert [each.code for each in ended[0].failures.values()] == ["timed_out"]
    assert f"it took longer than {LIMIT:g} s" in ended[0].failures["1"].reason


def test_loading_the_model_is_not_counted_as_a_text_s_time(tmp_path: Path) -> None:
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, ["a", "b"], 2)

    ended = _executed_carefully(tmp_path, SlowToLoad(16), path, units)

    assert [len(execution.rows) for execution in ended] == [2]
    assert not any(execution.failures for execution in ended)


@pytest.mark.parametrize("kind", [WarmPlace, RayDataPlace])
def test_texts_that_hang_fail_alone_wherever_they_are_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[WarmPlace] | type[RayDataPlace]
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 40.0)
    path = tmp_path / "staged.arrow"
    texts = [f"text {number}" for number in range(12)]
    texts[1] = texts[9] = f"an {ENDLESS} text"
    units = stage_texts(path, texts, 1)
    place = kind(
        _settings(tmp_path, LIMIT),
        recipe_of(EndlessProvider(16)),
        job_id="job",
        collection="tests",
    )
    try:
        ended = {
            unit.index: execution
            for unit, execution in place.run(path, units, keep_on=lambda: True)
        }
    finally:
        place.close()

    failures = {
        index: [failure.code for failure in execution.failures.values()]
        for index, execution in ended.items()
        if execution.failures
    }
    assert sorted(ended) == list(range(12))
    assert failures == {1: ["timed_out"], 9: ["timed_out"]}
