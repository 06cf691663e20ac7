"""Units through Ray Data: each once, whatever dies, and nothing on the terminal."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pytest
import ray.data

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import DiskFullError, WorkerError
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.jobs.recipes import Recipe, read_text_recipe
from lexigram_ray.jobs.staged import StagedUnit
from lexigram_ray.jobs.text_executor import RowsExecution
from lexigram_ray.jobs.text_places import InProcessPlace
from lexigram_ray.jobs.toolbox import make_embedder
from lexigram_ray.runtime.data_stream import PipelineStalledError
from lexigram_ray.runtime.pipeline import RayDataPlace
from tests.embedding_models import real_texts
from tests.integration.local_ray import local_ray
from tests.staged_texts import (
    DISK_FULL,
    POISON,
    REFUSED,
    TroublesomeProvider,
    recipe_of,
    settings,
    stage_texts,
)

__all__ = ["local_ray"]

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

# Ray's C++ core says that actors have arguments in the object store; no setting silences it.
OF_RAYS_CORE = re.compile(r"^\[[\d\-:, ]+ [IWEF] \d+ \d+\] \S+\.(cc|h):\d+: .*$")


def run(
    config: WorkersConfig, recipe: Recipe, path: Path, units: tuple[StagedUnit, ...]
) -> dict[int, RowsExecution]:
    """Run all units; fail where one ends twice."""
    place = RayDataPlace(config, recipe, job_id="job", collection="tests")
    ended: dict[int, RowsExecution] = {}
    try:
        for unit, execution in place.run(path, units, keep_on=lambda: True):
            assert unit.index not in ended, f"unit {unit.index} has ended twice"
            ended[unit.index] = execution
    finally:
        place.close()
    return ended


def ids_of(ended: dict[int, RowsExecution]) -> list[str]:
    return [row_id for index in sorted(ended) for row_id in ended[index].rows["id"].to_pylist()]


def failures_of(ended: dict[int, RowsExecution]) -> dict[str, str]:
    return {
        row_id: failure.code
        for execution in ended.values()
        for row_id, failure in execution.failures.items()
    }


def test_rows_and_failures_are_those_of_this_process_and_the_terminal_stays_quiet(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    texts = [f"{REFUSED if place == 7 else 'text'} {place % 20}" for place in range(30)]
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, texts, 4)
    config, recipe = settings(tmp_path), recipe_of(TroublesomeProvider())
    ended = run(config, recipe, path, units)
    place = InProcessPlace(lambda: make_embedder(config, recipe, None), "job")
    here = {unit.index: each for unit, each in place.run(path, units, keep_on=lambda: True)}
    place.close()
    assert set(ended) == set(here)
    for index, execution in ended.items():
        assert without_time(execution.rows).equals(without_time(here[index].rows))
        assert execution.failures == here[index].failures
        assert execution.computed == here[index].computed
    said = "".join(capfd.readouterr()).splitlines()
    assert [line for line in said if not OF_RAYS_CORE.match(line)] == []
    assert [str(each.message) for each in recwarn if "Ray" in each.category.__name__] == []


def test_a_killed_worker_loses_no_text(tmp_path: Path) -> None:
    texts = [f"text {place}" for place in range(24)]
    texts[9] = f"{POISON} once"
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, texts, 3)
    provider = TroublesomeProvider(kill_file=tmp_path / "killed")
    ended = run(settings(tmp_path), recipe_of(provider), path, units)
    assert (tmp_path / "killed").exists()
    assert ids_of(ended) == [str(place) for place in range(24)]
    assert failures_of(ended) == {}


@pytest.mark.chaos
def test_a_text_that_always_kills_its_worker_fails_alone_whatever_errors_the_user_tolerates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray.data.DataContext.get_current(), "max_errored_blocks", -1)
    texts = [f"text {place}" for place in range(24)]
    texts[13] = POISON
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, texts, 4)
    config = settings(tmp_path)
    ended = run(config, recipe_of(TroublesomeProvider()), path, units)
    assert failures_of(ended) == {"13": "worker_died"}
    assert ids_of(ended) == [str(place) for place in range(24) if place != 13]


def test_a_pipeline_that_stalls_is_started_anew_once_and_what_was_under_way_is_embedded_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stall(*_: object) -> NoReturn:
        raise PipelineStalledError("nothing moves")

    monkeypatch.setattr(RayDataPlace, "_through_data", stall)
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, [f"text {place}" for place in range(6)], 1)
    config, recipe = settings(tmp_path), recipe_of(TroublesomeProvider())
    place = RayDataPlace(config, recipe, job_id="job", collection="tests")
    ended: list[int] = []
    with pytest.raises(WorkerError, match="not after a new start either: nothing moves") as caught:
        ended.extend(unit.index for unit, _ in place.run(path, units, keep_on=lambda: True))
    place.close()
    assert ended == [0, 1, 2, 3]
    assert caught.value.hint is not None


def test_an_error_of_the_machine_is_raised_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, ["a", "b", DISK_FULL, "c"], 1)
    with pytest.raises(DiskFullError) as caught:
        run(settings(tmp_path), recipe_of(TroublesomeProvider()), path, units)
    assert caught.value.hint == "free some space"


def test_it_asks_whether_to_keep_on_while_it_waits_and_ends_soon_after_a_no(tmp_path: Path) -> None:
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, [f"text {place}" for place in range(40)], 2)
    recipe = recipe_of(TroublesomeProvider(seconds=1.5))
    place = RayDataPlace(settings(tmp_path), recipe, job_id="job", collection="tests")
    asked: list[float] = []
    stopping = threading.Event()

    def keep_on() -> bool:
        asked.append(time.monotonic())
        return not stopping.is_set()

    ended: list[int] = []
    for unit, _ in place.run(path, units, keep_on=keep_on):
        ended.append(unit.index)
        stopping.set()
    stopped = time.monotonic()
    place.close()
    assert len(ended) == 1
    assert time.monotonic() - stopped < 3
    # One that outlives its place would connect to another cluster after `ray.shutdown`.
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name == "embed" or "StreamingExecutor" in name]
    assert max(np.diff(asked)) < 0.5


@pytest.fixture
def path_of_real_texts(tmp_path: Path) -> tuple[Path, tuple[StagedUnit, ...]]:
    path = tmp_path / "staged.arrow"
    return path, stage_texts(path, real_texts(120), 40)


def test_the_real_model_gives_the_vectors_of_this_process_and_its_cache_keeps_them(
    state: Path, path_of_real_texts: tuple[Path, tuple[StagedUnit, ...]]
) -> None:
    path, units = path_of_real_texts
    config = settings(state, cache=True)
    recipe = read_text_recipe(config, None)
    ended = run(config, recipe, path, units)
    provider = make_embedder(settings(state), recipe, None)
    for unit in units:
        rows = ended[unit.index].rows
        ours = vectors_of(rows)
        theirs = provider.embed(rows["text"].to_pylist(), rows["content_hash"].to_pylist()).vectors
        assert (ours * theirs).sum(axis=1).min() > 0.999
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and cached_rows(config, recipe) < 120:
        time.sleep(0.1)
    assert cached_rows(config, recipe) >= 120


def cached_rows(config: WorkersConfig, recipe: Recipe) -> int:
    return len(EmbeddingCache(config.paths.cache, recipe.model.spec))


def vectors_of(rows: pa.Table) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    flat = rows["vector"].combine_chunks().flatten().to_numpy()
    return flat.reshape(len(rows), -1)


def without_time(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["created_at"])
