"""Asking a container, whosever it is."""

from __future__ import annotations

from typing import Any

from lexigram_ray.jobs.awaiting import parameters_of, resolved

__all__ = ["bound"]


async def bound(container: Any, key: type | None) -> Any:
    """Return what is bound to a type; None where nothing is.

    What is bound is for the whole application, whichever of its modules has bound it: who happens
    to be the first to ask for a worker must not decide what it works with.
    """
    has = getattr(container, "has", None)
    # Not a truth value: a double of a container says something to everything.
    if key is None or not callable(has) or has(key) is not True:
        return None
    if "bypass_visibility" in (parameters_of(container.resolve) or {}):
        return await resolved(container.resolve(key, bypass_visibility=True))
    return await resolved(container.resolve(key))
