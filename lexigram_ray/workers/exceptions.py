"""What the workers raise. The whole tree of errors stands in `lexigram_ray.core.errors`."""

from __future__ import annotations

from lexigram_ray.core.errors import DLQError, MaintenanceError, WorkerError

__all__ = ["DLQError", "MaintenanceError", "WorkerError"]
