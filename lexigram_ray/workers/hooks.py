"""Hooks of the workers, and how to subscribe to them."""

from __future__ import annotations

from lexigram_ray.core.hooks import (
    WorkerHook,
    WorkerJobCompletedHook,
    WorkerJobStartedHook,
    WorkerMaintenanceRunHook,
    subscribe,
)

__all__ = [
    "WorkerHook",
    "WorkerJobCompletedHook",
    "WorkerJobStartedHook",
    "WorkerMaintenanceRunHook",
    "subscribe",
]
