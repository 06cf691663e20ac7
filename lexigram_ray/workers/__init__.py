"""The workers: batch embedding, document ingestion, dead letters and maintenance.

Every public name of the modules below can be taken from here. Names are looked up when they are
first used: importing this package imports nothing else. `ProgressTracker` is the one of
`batch_embedding`; that of documents is `document_ingestion.ProgressTracker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexigram_ray.workers.adapters.loader_worker import (
        LoaderWorkerBridge,
    )
    from lexigram_ray.workers.adapters.rag_adapter import (
        IngestionError,
        IngestionReport,
        RAGIngestionAdapter,
    )
    from lexigram_ray.workers.adapters.tasks_adapter import (
        HAS_LEX_TASKS,
        JobAdapter,
        LexigramTasksAdapter,
    )
    from lexigram_ray.workers.batch_embedding.cache import (
        EmbeddingCache,
    )
    from lexigram_ray.workers.batch_embedding.progress import (
        ProgressTracker,
    )
    from lexigram_ray.workers.batch_embedding.types import (
        BatchEmbeddingJob,
        BatchEmbeddingProgress,
        BatchEmbeddingResult,
        EmbeddingStatus,
    )
    from lexigram_ray.workers.batch_embedding.worker import (
        BatchEmbeddingWorker,
    )
    from lexigram_ray.workers.config import (
        WorkersConfig,
    )
    from lexigram_ray.workers.constants import (
        DEFAULT_BASE_BACKOFF,
        DEFAULT_CHECK_INTERVAL,
        DEFAULT_MAX_RETRIES,
        DEFAULT_TASK_TIMEOUT,
        ENV_NESTED_DELIMITER,
        ENV_PREFIX,
        MAX_BACKOFF_SECONDS,
        MAX_HISTORY_SIZE,
    )
    from lexigram_ray.workers.di.provider import (
        WorkersProvider,
    )
    from lexigram_ray.workers.dlq.classifier import (
        ErrorClassifier,
    )
    from lexigram_ray.workers.dlq.worker import (
        DeadLetterQueueWorker,
    )
    from lexigram_ray.workers.document_ingestion.parser import (
        DocumentLoader,
        DocumentParser,
        UniversalDocumentParser,
    )
    from lexigram_ray.workers.document_ingestion.processor import (
        DocumentProcessor,
    )
    from lexigram_ray.workers.document_ingestion.types import (
        Document,
        DocumentIngestionJob,
        IngestionProgress,
        IngestionResult,
        IngestionStatus,
    )
    from lexigram_ray.workers.document_ingestion.worker import (
        DocumentIngestionWorker,
    )
    from lexigram_ray.workers.exceptions import (
        DLQError,
        MaintenanceError,
        WorkerError,
    )
    from lexigram_ray.workers.hooks import (
        WorkerHook,
        WorkerJobCompletedHook,
        WorkerJobStartedHook,
        WorkerMaintenanceRunHook,
        subscribe,
    )
    from lexigram_ray.workers.maintenance.worker import (
        MaintenanceWorker,
    )
    from lexigram_ray.workers.module import (
        WorkersModule,
    )
    from lexigram_ray.workers.protocols import (
        ChunkerProtocol,
        ChunkingConfigDict,
        ChunkProtocol,
        ConfigIssue,
        ContainerRegistrarProtocol,
        ContainerResolverProtocol,
        DurableTaskQueue,
        EmbeddingClientProtocol,
        EmbeddingProvider,
        Environment,
        Err,
        HealthCheckCategory,
        HealthCheckResult,
        HealthStatus,
        JobProtocol,
        Ok,
        Result,
        TaskQueueProtocol,
        VectorStoreProtocol,
    )
    from lexigram_ray.workers.types import (
        DLQAction,
        DLQItem,
        DLQStats,
        FailureCategory,
        MaintenanceResult,
        MaintenanceStatus,
        MaintenanceTask,
        MaintenanceTaskType,
    )

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
    "IngestionError",
    "IngestionProgress",
    "IngestionReport",
    "IngestionResult",
    "IngestionStatus",
    "JobAdapter",
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
    "subscribe",
]

_HOMES = {
    "BatchEmbeddingJob": "lexigram_ray.workers.batch_embedding.types",
    "BatchEmbeddingProgress": "lexigram_ray.workers.batch_embedding.types",
    "BatchEmbeddingResult": "lexigram_ray.workers.batch_embedding.types",
    "BatchEmbeddingWorker": "lexigram_ray.workers.batch_embedding.worker",
    "ChunkProtocol": "lexigram_ray.workers.protocols",
    "ChunkerProtocol": "lexigram_ray.workers.protocols",
    "ChunkingConfigDict": "lexigram_ray.workers.protocols",
    "ConfigIssue": "lexigram_ray.workers.protocols",
    "ContainerRegistrarProtocol": "lexigram_ray.workers.protocols",
    "ContainerResolverProtocol": "lexigram_ray.workers.protocols",
    "DEFAULT_BASE_BACKOFF": "lexigram_ray.workers.constants",
    "DEFAULT_CHECK_INTERVAL": "lexigram_ray.workers.constants",
    "DEFAULT_MAX_RETRIES": "lexigram_ray.workers.constants",
    "DEFAULT_TASK_TIMEOUT": "lexigram_ray.workers.constants",
    "DLQAction": "lexigram_ray.workers.types",
    "DLQError": "lexigram_ray.workers.exceptions",
    "DLQItem": "lexigram_ray.workers.types",
    "DLQStats": "lexigram_ray.workers.types",
    "DeadLetterQueueWorker": "lexigram_ray.workers.dlq.worker",
    "Document": "lexigram_ray.workers.document_ingestion.types",
    "DocumentIngestionJob": "lexigram_ray.workers.document_ingestion.types",
    "DocumentIngestionWorker": "lexigram_ray.workers.document_ingestion.worker",
    "DocumentLoader": "lexigram_ray.workers.document_ingestion.parser",
    "DocumentParser": "lexigram_ray.workers.document_ingestion.parser",
    "DocumentProcessor": "lexigram_ray.workers.document_ingestion.processor",
    "DurableTaskQueue": "lexigram_ray.workers.protocols",
    "ENV_NESTED_DELIMITER": "lexigram_ray.workers.constants",
    "ENV_PREFIX": "lexigram_ray.workers.constants",
    "EmbeddingCache": "lexigram_ray.workers.batch_embedding.cache",
    "EmbeddingClientProtocol": "lexigram_ray.workers.protocols",
    "EmbeddingProvider": "lexigram_ray.workers.protocols",
    "EmbeddingStatus": "lexigram_ray.workers.batch_embedding.types",
    "Environment": "lexigram_ray.workers.protocols",
    "Err": "lexigram_ray.workers.protocols",
    "ErrorClassifier": "lexigram_ray.workers.dlq.classifier",
    "FailureCategory": "lexigram_ray.workers.types",
    "HAS_LEX_TASKS": "lexigram_ray.workers.adapters.tasks_adapter",
    "HealthCheckCategory": "lexigram_ray.workers.protocols",
    "HealthCheckResult": "lexigram_ray.workers.protocols",
    "HealthStatus": "lexigram_ray.workers.protocols",
    "IngestionError": "lexigram_ray.workers.adapters.rag_adapter",
    "IngestionProgress": "lexigram_ray.workers.document_ingestion.types",
    "IngestionReport": "lexigram_ray.workers.adapters.rag_adapter",
    "IngestionResult": "lexigram_ray.workers.document_ingestion.types",
    "IngestionStatus": "lexigram_ray.workers.document_ingestion.types",
    "JobAdapter": "lexigram_ray.workers.adapters.tasks_adapter",
    "JobProtocol": "lexigram_ray.workers.protocols",
    "LexigramTasksAdapter": "lexigram_ray.workers.adapters.tasks_adapter",
    "LoaderWorkerBridge": "lexigram_ray.workers.adapters.loader_worker",
    "MAX_BACKOFF_SECONDS": "lexigram_ray.workers.constants",
    "MAX_HISTORY_SIZE": "lexigram_ray.workers.constants",
    "MaintenanceError": "lexigram_ray.workers.exceptions",
    "MaintenanceResult": "lexigram_ray.workers.types",
    "MaintenanceStatus": "lexigram_ray.workers.types",
    "MaintenanceTask": "lexigram_ray.workers.types",
    "MaintenanceTaskType": "lexigram_ray.workers.types",
    "MaintenanceWorker": "lexigram_ray.workers.maintenance.worker",
    "Ok": "lexigram_ray.workers.protocols",
    "ProgressTracker": "lexigram_ray.workers.batch_embedding.progress",
    "RAGIngestionAdapter": "lexigram_ray.workers.adapters.rag_adapter",
    "Result": "lexigram_ray.workers.protocols",
    "TaskQueueProtocol": "lexigram_ray.workers.protocols",
    "UniversalDocumentParser": "lexigram_ray.workers.document_ingestion.parser",
    "VectorStoreProtocol": "lexigram_ray.workers.protocols",
    "WorkerError": "lexigram_ray.workers.exceptions",
    "WorkerHook": "lexigram_ray.workers.hooks",
    "WorkerJobCompletedHook": "lexigram_ray.workers.hooks",
    "WorkerJobStartedHook": "lexigram_ray.workers.hooks",
    "WorkerMaintenanceRunHook": "lexigram_ray.workers.hooks",
    "WorkersConfig": "lexigram_ray.workers.config",
    "WorkersModule": "lexigram_ray.workers.module",
    "WorkersProvider": "lexigram_ray.workers.di.provider",
    "subscribe": "lexigram_ray.workers.hooks",
}


def __getattr__(name: str) -> object:
    from lexigram_ray._lazy import looked_up

    return looked_up(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
