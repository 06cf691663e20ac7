"""Failed jobs: kept, sorted by cause, tried again in their time, and told of when nobody will."""

from __future__ import annotations

from lexigram_ray.workers.dlq.classifier import ErrorClassifier
from lexigram_ray.workers.dlq.worker import DeadLetterQueueWorker

__all__ = ["DeadLetterQueueWorker", "ErrorClassifier"]
