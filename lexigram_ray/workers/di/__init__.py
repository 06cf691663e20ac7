"""How an application with a container gets the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexigram_ray.workers.di.provider import WorkersProvider

__all__ = ["WorkersProvider"]


def __getattr__(name: str) -> object:
    if name != "WorkersProvider":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lexigram_ray.workers.di.provider import WorkersProvider

    globals()[name] = WorkersProvider
    return WorkersProvider


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
