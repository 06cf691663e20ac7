"""Maintenance by handlers of one's own, and by the built-in duties, in this process."""

from __future__ import annotations

from lexigram_ray.workers.maintenance.worker import MaintenanceWorker

__all__ = ["MaintenanceWorker"]
