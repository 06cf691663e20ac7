"""How many embedders a cluster gets, and what each of them reserves. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lexigram_ray.core.config import RuntimeSettings
from lexigram_ray.core.errors import ConfigError

GPU_SHARE = 0.9
"""Alone on its GPU among bulk embedders, and yet beside a warm one."""

WARM_GPU_SHARE = 0.1
CPU_SHARE = 0.6
"""Of a node, so that it is mostly one embedder's, and whatever else runs there goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSize:
    """A pool of embedders.

    Attributes:
        embedders: In all.
        per_node: Most on one node: they share its cores, whatever they reserve.
        cpus: Reserved by each, for scheduling only.
        gpus: Reserved by each.
    """

    embedders: int
    per_node: int
    cpus: float
    gpus: float


def pool_size(
    nodes: Sequence[Mapping[str, float]], settings: RuntimeSettings, units: int
) -> PoolSize:
    """Size a pool: an embedder a GPU, or one a node where there are none.

    Args:
        nodes: Ray's resources of each living node, such as `{"CPU": 8.0, "GPU": 1.0}`.
        settings: `embedders` and `embedder_gpus` where the user wants it otherwise.
        units: No more embedders than these.

    Raises:
        ConfigError: No node has the GPUs that an embedder shall reserve.
    """
    gpus = settings.embedder_gpus
    if gpus is None:
        gpus = GPU_SHARE if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    most = min(units, settings.embedders or units)
    if gpus > 0:
        return _on_gpus(nodes, gpus, most)
    # A head node often has no CPUs, so that nothing is placed there.
    nodes = [node for node in nodes if node.get("CPU", 0) > 0] or nodes
    wanted = min(most, settings.embedders or len(nodes))
    per_node = math.ceil(wanted / len(nodes))
    smallest = min(node.get("CPU", 0.0) for node in nodes)
    return PoolSize(
        embedders=wanted, per_node=per_node, cpus=_reserved(smallest / per_node), gpus=0.0
    )


def warm_gpus(resources: Mapping[str, float], settings: RuntimeSettings) -> float:
    """Return what a warm embedder reserves of a node or cluster with these resources."""
    if settings.embedder_gpus == 0 or resources.get("GPU", 0) < 1:
        return 0.0
    return WARM_GPU_SHARE


def _on_gpus(nodes: Sequence[Mapping[str, float]], gpus: float, most: int) -> PoolSize:
    rooms = [_room(node.get("GPU", 0.0), gpus) for node in nodes]
    if not any(rooms):
        raise ConfigError(
            f"an embedder shall reserve {gpus:g} GPUs, and no node of the cluster has them",
            hint="set runtime.embedder_gpus to 0 to embed on CPUs",
        )
    share = min(
        node.get("CPU", 0.0) / room for node, room in zip(nodes, rooms, strict=True) if room
    )
    return PoolSize(
        embedders=max(1, min(most, sum(rooms))),
        per_node=max(rooms),
        cpus=min(1.0, _reserved(share)),
        gpus=gpus,
    )


def _room(there: float, gpus: float) -> int:
    # A fraction is always one of a single GPU.
    return int(there) * int(1 / gpus) if gpus < 1 else int(there / gpus)


def _reserved(cpus: float) -> float:
    share = CPU_SHARE * cpus
    # Ray takes whole numbers from 1 on.
    return float(int(share)) if share >= 1 else round(share, 3)
