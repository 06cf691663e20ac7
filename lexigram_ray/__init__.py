"""Documents and texts into searchable vectors on a Ray cluster.

`ingest`, `embed` and `search` do from Python what the commands of these names do, and `attach`
finds a job again; the workers, their types and their hooks are those of `lexigram_ray.workers`.
All names are looked up when they are first used: importing the package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig, load_config
    from lexigram_ray.core.errors import WorkerError
    from lexigram_ray.notebook.calls import embed, search
    from lexigram_ray.notebook.ingest_call import ingest
    from lexigram_ray.notebook.ingest_result import IngestResult
    from lexigram_ray.notebook.job_handle import JobHandle, JobProgress, attach
    from lexigram_ray.notebook.results import EmbedResult, SearchResult
    from lexigram_ray.workers import (
        DEFAULT_BASE_BACKOFF,
        DEFAULT_CHECK_INTERVAL,
        DEFAULT_MAX_RETRIES,
        DEFAULT_TASK_TIMEOUT,
        ENV_NESTED_DELIMITER,
        ENV_PREFIX,
        HAS_LEX_TASKS,
        MAX_BACKOFF_SECONDS,
        MAX_HISTORY_SIZE,
        BatchEmbeddingJob,
        BatchEmbeddingProgress,
        BatchEmbeddingResult,
        BatchEmbeddingWorker,
        ChunkerProtocol,
        ChunkingConfigDict,
        ChunkProtocol,
        ConfigIssue,
        ContainerRegistrarProtocol,
        ContainerResolverProtocol,
        DeadLetterQueueWorker,
        DLQAction,
        DLQError,
        DLQItem,
        DLQStats,
        Document,
        DocumentIngestionJob,
        DocumentIngestionWorker,
        DocumentLoader,
        DocumentParser,
        DocumentProcessor,
        DurableTaskQueue,
        EmbeddingCache,
        EmbeddingClientProtocol,
        EmbeddingProvider,
        EmbeddingStatus,
        Environment,
        Err,
        ErrorClassifier,
        FailureCategory,
        HealthCheckCategory,
        HealthCheckResult,
        HealthStatus,
        IngestionError,
        IngestionProgress,
        IngestionReport,
        IngestionResult,
        IngestionStatus,
        JobAdapter,
        JobProtocol,
        LexigramTasksAdapter,
        LoaderWorkerBridge,
        MaintenanceError,
        MaintenanceResult,
        MaintenanceStatus,
        MaintenanceTask,
        MaintenanceTaskType,
        MaintenanceWorker,
        Ok,
        ProgressTracker,
        RAGIngestionAdapter,
        Result,
        TaskQueueProtocol,
        UniversalDocumentParser,
        VectorStoreProtocol,
        WorkerHook,
        WorkerJobCompletedHook,
        WorkerJobStartedHook,
        WorkerMaintenanceRunHook,
        WorkersModule,
        WorkersProvider,
        subscribe,
    )

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_BASE_BACKOFF",
    "DEFAULT_CHECK_INTERVAL",
    "DEFAULT_MAX_RETRIES",
    "DEFAULT_TASK_TIMEOUT",
    "ENV_NESTED_DELIMITER",
    "ENV_PREFIX",
    "HAS_LEX_TASKS",
    "MAX_BACKOFF_SECONDS",
    "MAX_HISTORY_SIZE",
    "BatchEmbeddingJob",
    "BatchEmbeddingProgress",
    "BatchEmbeddingResult",
    "BatchEmbeddingWorker",
    "ChunkProtocol",
    "ChunkerProtocol",
    "ChunkingConfigDict",
    "ConfigIssue",
    "ContainerRegistrarProtocol",
    "ContainerResolverProtocol",
    "DLQAction",
    "DLQError",
    "DLQItem",
    "DLQStats",
    "DeadLetterQueueWorker",
    "Document",
    "DocumentIngestionJob",
    "DocumentIngestionWorker",
    "DocumentLoader",
    "DocumentParser",
    "DocumentProcessor",
    "DurableTaskQueue",
    "EmbedResult",
    "EmbeddingCache",
    "EmbeddingClientProtocol",
    "EmbeddingProvider",
    "EmbeddingStatus",
    "Environment",
    "Err",
    "ErrorClassifier",
    "FailureCategory",
    "HealthCheckCategory",
    "HealthCheckResult",
    "HealthStatus",
    "IngestResult",
    "IngestionError",
    "IngestionProgress",
    "IngestionReport",
    "IngestionResult",
    "IngestionStatus",
    "JobAdapter",
    "JobHandle",
    "JobProgress",
    "JobProtocol",
    "LexigramTasksAdapter",
    "LoaderWorkerBridge",
    "MaintenanceError",
    "MaintenanceResult",
    "MaintenanceStatus",
    "MaintenanceTask",
    "MaintenanceTaskType",
    "MaintenanceWorker",
    "Ok",
    "ProgressTracker",
    "RAGIngestionAdapter",
    "Result",
    "SearchResult",
    "TaskQueueProtocol",
    "UniversalDocumentParser",
    "VectorStoreProtocol",
    "WorkerError",
    "WorkerHook",
    "WorkerJobCompletedHook",
    "WorkerJobStartedHook",
    "WorkerMaintenanceRunHook",
    "WorkersConfig",
    "WorkersModule",
    "WorkersProvider",
    "__version__",
    "attach",
    "embed",
    "ingest",
    "load_config",
    "search",
    "subscribe",
]

_HOMES = {name: "lexigram_ray.workers" for name in __all__ if name != "__version__"} | {
    "EmbedResult": "lexigram_ray.notebook.results",
    "IngestResult": "lexigram_ray.notebook.ingest_result",
    "JobHandle": "lexigram_ray.notebook.job_handle",
    "JobProgress": "lexigram_ray.notebook.job_handle",
    "SearchResult": "lexigram_ray.notebook.results",
    "WorkerError": "lexigram_ray.core.errors",
    "WorkersConfig": "lexigram_ray.core.config",
    "attach": "lexigram_ray.notebook.job_handle",
    "embed": "lexigram_ray.notebook.calls",
    "ingest": "lexigram_ray.notebook.ingest_call",
    "load_config": "lexigram_ray.core.config",
    "search": "lexigram_ray.notebook.calls",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
