"""The workers behind other interfaces: a loader, a RAG pipeline, a task queue.

Names are looked up when they are first used: importing this package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexigram_ray.workers.adapters.loader_worker import LoaderWorkerBridge
    from lexigram_ray.workers.adapters.rag_adapter import (
        IngestionError,
        IngestionReport,
        RAGIngestionAdapter,
    )
    from lexigram_ray.workers.adapters.tasks_adapter import HAS_LEX_TASKS, LexigramTasksAdapter

__all__ = [
    "HAS_LEX_TASKS",
    "IngestionError",
    "IngestionReport",
    "LexigramTasksAdapter",
    "LoaderWorkerBridge",
    "RAGIngestionAdapter",
]

_HOMES = {
    "HAS_LEX_TASKS": ".tasks_adapter",
    "IngestionError": ".rag_adapter",
    "IngestionReport": ".rag_adapter",
    "LexigramTasksAdapter": ".tasks_adapter",
    "LoaderWorkerBridge": ".loader_worker",
    "RAGIngestionAdapter": ".rag_adapter",
}


def __getattr__(name: str) -> object:
    from lexigram_ray._lazy import looked_up

    return looked_up(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
