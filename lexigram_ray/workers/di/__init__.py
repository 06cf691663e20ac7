"""How an application with a container gets the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexigram_ray.workers.di.provider import WorkersProvider

__all__ = ["WorkersProvider"]


def __getattr__(name: str) -> object:
    from lexigram_ray._lazy import looked_up

    return looked_up(__name__, {"WorkersProvider": ".provider"}, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
