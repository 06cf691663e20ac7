"""How many embedders a cluster gets, and what each reserves."""

from __future__ import annotations

import pytest

from lexigram_ray.core.config import RuntimeSettings
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.runtime.pool_size import PoolSize, pool_size, warm_gpus

DEFAULT = RuntimeSettings()


def size(*nodes: dict[str, float], units: int = 100, **wanted: float) -> PoolSize:
    return pool_size(nodes, RuntimeSettings(**wanted) if wanted else DEFAULT, units)


def test_two_cpus_get_one_embedder_that_leaves_room_for_others() -> None:
    assert size({"CPU": 2.0}) == PoolSize(embedders=1, per_node=1, cpus=1.0, gpus=0.0)


def test_every_node_without_gpus_gets_one_embedder() -> None:
    assert size({"CPU": 16.0}, {"CPU": 8.0}, {"CPU": 8.0}) == PoolSize(
        embedders=3, per_node=1, cpus=4.0, gpus=0.0
    )


def test_a_head_node_without_cpus_gets_no_embedder_and_does_not_shrink_the_others() -> None:
    assert size({"CPU": 0.0}, {"CPU": 8.0}, {"memory": 1.0}) == size({"CPU": 8.0})
    assert size({"CPU": 0.0}) == PoolSize(embedders=1, per_node=1, cpus=0.0, gpus=0.0)


def test_every_gpu_gets_one_embedder_beside_which_a_warm_one_has_room() -> None:
    sized = size({"CPU": 32.0, "GPU": 4.0}, {"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0})
    assert sized == PoolSize(embedders=6, per_node=4, cpus=1.0, gpus=0.9)


def test_there_are_no_more_embedders_than_units() -> None:
    assert size({"CPU": 32.0, "GPU": 8.0}, units=3).embedders == 3


def test_the_settings_cap_the_embedders_and_share_gpus_and_cores() -> None:
    assert size({"CPU": 32.0, "GPU": 4.0}, embedders=2).embedders == 2
    assert size({"CPU": 32.0, "GPU": 4.0}, embedder_gpus=0.5).embedders == 8
    assert size({"CPU": 32.0, "GPU": 4.0}, embedder_gpus=2).embedders == 2
    assert size({"CPU": 32.0}, embedders=4) == PoolSize(embedders=4, per_node=4, cpus=4.0, gpus=0.0)
    assert size({"CPU": 32.0, "GPU": 4.0}, embedder_gpus=0).gpus == 0


def test_what_is_reserved_can_be_had_on_a_node_that_is_small() -> None:
    assert size({"CPU": 1.0}).cpus == 0.6
    assert size({"CPU": 2.0}, embedders=2) == PoolSize(embedders=2, per_node=2, cpus=0.6, gpus=0.0)


def test_a_warm_embedder_takes_of_a_gpu_what_a_bulk_one_leaves_unless_it_shall_take_none() -> None:
    with_gpu = {"CPU": 8.0, "GPU": 1.0}
    assert warm_gpus(with_gpu, DEFAULT) + size(with_gpu).gpus == 1
    assert warm_gpus({"CPU": 8.0}, DEFAULT) == 0
    assert warm_gpus(with_gpu, RuntimeSettings(embedder_gpus=0)) == 0


def test_gpus_that_no_node_has_are_an_error_that_names_them() -> None:
    with pytest.raises(ConfigError, match="reserve 2 GPUs") as caught:
        size({"CPU": 32.0, "GPU": 1.0}, embedder_gpus=2)
    assert caught.value.hint is not None
