"""Documents into a collection: the worker, the parser, and what they pass on.

Names are looked up when they are first used: importing this package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexigram_ray.workers.document_ingestion.parser import (
        DocumentParser,
        UniversalDocumentParser,
    )
    from lexigram_ray.workers.document_ingestion.processor import DocumentProcessor
    from lexigram_ray.workers.document_ingestion.progress import ProgressTracker
    from lexigram_ray.workers.document_ingestion.types import (
        Document,
        DocumentIngestionJob,
        IngestionProgress,
        IngestionResult,
        IngestionStatus,
    )
    from lexigram_ray.workers.document_ingestion.worker import DocumentIngestionWorker

__all__ = [
    "Document",
    "DocumentIngestionJob",
    "DocumentIngestionWorker",
    "DocumentParser",
    "DocumentProcessor",
    "IngestionProgress",
    "IngestionResult",
    "IngestionStatus",
    "ProgressTracker",
    "UniversalDocumentParser",
]

_HOMES = {
    "Document": ".types",
    "DocumentIngestionJob": ".types",
    "DocumentIngestionWorker": ".worker",
    "DocumentParser": ".parser",
    "DocumentProcessor": ".processor",
    "IngestionProgress": ".types",
    "IngestionResult": ".types",
    "IngestionStatus": ".types",
    "ProgressTracker": ".progress",
    "UniversalDocumentParser": ".parser",
}


def __getattr__(name: str) -> object:
    from lexigram_ray._lazy import looked_up

    return looked_up(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
