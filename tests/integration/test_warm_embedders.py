"""Small jobs on embedders that are warm already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.exceptions import RayActorError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import DiskFullError
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.staged import StagedUnit
from lexigram_ray.jobs.text_executor import RowsExecution
from lexigram_ray.runtime.actors import RemoteEmbedder
from lexigram_ray.runtime.warm import SessionEmbedders, WarmEmbedders, WarmPlace
from tests.fakes import HashingProvider
from tests.integration.local_ray import local_ray
from tests.staged_texts import (
    DISK_FULL,
    POISON,
    TroublesomeProvider,
    recipe_of,
    settings,
    stage_texts,
)

__all__ = ["local_ray"]

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[WarmEmbedders]:
    """Detached embedders of the well-behaved provider."""
    embedders = WarmEmbedders(
        settings(tmp_path), recipe_of(TroublesomeProvider()), lifetime="detached"
    )
    yield embedders
    embedders.end()


def place_of(config: WorkersConfig, recipe: Recipe) -> WarmPlace:
    return WarmPlace(config, recipe, job_id="job", collection="tests")


def run(place: WarmPlace, path: Path, units: tuple[StagedUnit, ...]) -> dict[int, RowsExecution]:
    try:
        return {unit.index: each for unit, each in place.run(path, units, keep_on=lambda: True)}
    finally:
        place.close()


def ids_of(ended: dict[int, RowsExecution]) -> list[str]:
    return [row_id for index in sorted(ended) for row_id in ended[index].rows["id"].to_pylist()]


def test_ten_texts_on_a_warm_embedder_take_a_fraction_of_a_second(
    tmp_path: Path, warm: WarmEmbedders
) -> None:
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, [f"text {place}" for place in range(10)], 10)
    config, recipe = settings(tmp_path), recipe_of(TroublesomeProvider())
    (handle,) = warm.on_every_node()
    ray.get(handle.embed.remote(["warm"], ["0" * 32]))
    seconds: list[float] = []
    for _ in range(3):
        started = time.monotonic()
        assert ids_of(run(place_of(config, recipe), path, units)) == list(map(str, range(10)))
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 0.3


def test_places_find_a_detached_embedder_and_leave_it_to_others(
    tmp_path: Path, warm: WarmEmbedders
) -> None:
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, ["a", "b"], 1)
    config, recipe = settings(tmp_path), recipe_of(TroublesomeProvider())
    (handle,) = warm.on_every_node()
    for _ in range(2):
        assert len(run(place_of(config, recipe), path, units)) == 2
        (found,) = WarmEmbedders(config, recipe).on_every_node()
        assert found._actor_id == handle._actor_id
    assert ray.get(handle.embed.remote(["warm"], ["0" * 32])).computed == 1


def test_an_embedder_that_is_ended_is_not_found_again(tmp_path: Path, warm: WarmEmbedders) -> None:
    (handle,) = warm.on_every_node()
    ray.get(handle.embed.remote(["warm"], ["0" * 32]))
    warm.end()
    deadline = time.monotonic() + 10
    other = WarmEmbedders(settings(tmp_path), recipe_of(TroublesomeProvider()))
    while time.monotonic() < deadline:
        (found,) = other.on_every_node()
        if found._actor_id != handle._actor_id:
            break
        other = WarmEmbedders(settings(tmp_path), recipe_of(TroublesomeProvider()))
        time.sleep(0.05)
    assert found._actor_id != handle._actor_id
    with pytest.raises(RayActorError):
        ray.get(handle.embed.remote(["gone"], ["1" * 32]))


def test_idle_embedders_reserve_nothing_that_a_bulk_job_needs(warm: WarmEmbedders) -> None:
    (handle,) = warm.on_every_node()
    ray.get(handle.embed.remote(["warm"], ["0" * 32]))
    assert ray.available_resources()["CPU"] == 2


def test_another_provider_or_other_settings_are_another_embedder(
    tmp_path: Path, warm: WarmEmbedders
) -> None:
    (ours,) = warm.on_every_node()
    others = [
        WarmEmbedders(settings(tmp_path), recipe_of(HashingProvider(16))),
        WarmEmbedders(settings(tmp_path, cache=True), recipe_of(TroublesomeProvider())),
    ]
    for other in others:
        (handle,) = other.on_every_node()
        assert handle._actor_id != ours._actor_id


def test_a_remote_embedder_answers_as_one_of_this_process_does(
    tmp_path: Path, warm: WarmEmbedders
) -> None:
    (handle,) = warm.on_every_node()
    embedded = RemoteEmbedder(handle, "embed:tests:job").embed(
        ["a", "b", "a"], ["a" * 32, "b" * 32, "a" * 32]
    )
    assert embedded.vectors.shape == (3, 16)
    assert embedded.computed == 2


@pytest.mark.chaos
def test_a_killed_embedder_loses_no_text_and_a_text_that_kills_fails_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "staged.arrow"
    texts = [f"text {place}" for place in range(12)]
    texts[5] = POISON
    units = stage_texts(path, texts, 3)
    ended = run(place_of(settings(tmp_path), recipe_of(TroublesomeProvider())), path, units)
    assert ids_of(ended) == [str(place) for place in range(12) if place != 5]
    assert [list(ended[index].failures) for index in range(4)] == [[], ["5"], [], []]


@pytest.mark.chaos
def test_one_that_is_gone_for_good_costs_its_job_no_text_and_is_made_anew_for_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, [f"text {place}" for place in range(4)], 1)
    config, recipe = settings(tmp_path), recipe_of(TroublesomeProvider())
    embedders = SessionEmbedders().of(config, recipe)
    (gone,) = embedders.on_every_node()
    ray.get(gone.embed.remote(["warm"], ["0" * 32]))
    ray.kill(gone, no_restart=True)
    place = WarmPlace(config, recipe, job_id="job", collection="tests", embedders=embedders)
    assert ids_of(run(place, path, units)) == list(map(str, range(4)))
    (anew,) = embedders.on_every_node()
    assert anew._actor_id != gone._actor_id
    assert ray.get(anew.embed.remote(["warm"], ["0" * 32])).computed == 1


def test_an_error_of_the_machine_is_raised_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, ["a", DISK_FULL], 1)
    with pytest.raises(DiskFullError):
        run(place_of(settings(tmp_path), recipe_of(TroublesomeProvider())), path, units)


def test_it_stops_at_once_when_it_is_not_to_keep_on(tmp_path: Path) -> None:
    path = tmp_path / "staged.arrow"
    units = stage_texts(path, [f"text {place}" for place in range(8)], 1)
    place = place_of(settings(tmp_path), recipe_of(TroublesomeProvider(seconds=2.0)))
    stopping = time.monotonic() + 1.0
    assert list(place.run(path, units, keep_on=lambda: time.monotonic() < stopping)) == []
    place.close()
    assert time.monotonic() - stopping < 1.0
