"""The whole public API, used as its documentation says. Type checkers read it; nothing runs it.

What is declared here is what users may rely on: each value is assigned to the type that it must
have, so that a change of the API which would break a typed program is seen by the type checker.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lexigram_ray
from lexigram_ray import (
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
    ConfigIssue,
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
    EmbeddingCache,
    EmbeddingProvider,
    EmbeddingStatus,
    EmbedResult,
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
    IngestResult,
    JobAdapter,
    JobHandle,
    JobProgress,
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
    SearchResult,
    TaskQueueProtocol,
    UniversalDocumentParser,
    VectorStoreProtocol,
    WorkerError,
    WorkerHook,
    WorkerJobCompletedHook,
    WorkerJobStartedHook,
    WorkerMaintenanceRunHook,
    WorkersConfig,
    WorkersModule,
    WorkersProvider,
    attach,
    embed,
    ingest,
    load_config,
    search,
    subscribe,
)
from lexigram_ray.workers import document_ingestion
from lexigram_ray.workers.protocols import (
    ChunkerProtocol,
    ChunkingConfigDict,
    ChunkProtocol,
    ContainerRegistrarProtocol,
    ContainerResolverProtocol,
    DurableTaskQueue,
    EmbeddingClientProtocol,
)


def constants() -> None:
    backoff: int = DEFAULT_BASE_BACKOFF + MAX_BACKOFF_SECONDS
    counts: int = DEFAULT_CHECK_INTERVAL + DEFAULT_MAX_RETRIES + MAX_HISTORY_SIZE
    timeout: float = DEFAULT_TASK_TIMEOUT
    names: str = ENV_PREFIX + ENV_NESTED_DELIMITER + lexigram_ray.__version__
    has_tasks: bool = HAS_LEX_TASKS
    print(backoff, counts, timeout, names, has_tasks)


def configuration() -> None:
    config: WorkersConfig = load_config(Path("application.yaml"), enabled=True)
    issues: list[ConfigIssue] = config.validate_for_environment(Environment.PRODUCTION)
    issues += config.validate_for_environment()
    for issue in issues:
        shown: str = f"{issue.field} {issue.message} {issue.severity} {issue.suggestion}"
        print(shown)
    at_once: int = config.batch_embedding_concurrency + config.document_ingestion_concurrency
    print(at_once, config.enable_maintenance, config.dlq_check_interval, config.env)


def embedding_and_searching() -> None:
    ingested: IngestResult = ingest([Path("papers"), "notes"], collection="papers", prune=True)
    embedded: EmbedResult = embed("texts.parquet", collection="papers")
    found: SearchResult = search("what holds them together?", collection="papers")
    print(ingested, embedded, found)


async def one_job_again() -> None:
    handle: JobHandle = attach("a1b2", state="/var/lib/lexigram-ray")
    newest: JobHandle = attach()
    progress: JobProgress = handle.progress
    done: float = progress.percent + progress.done + progress.failed + progress.total
    names: str = handle.job_id + handle.kind + handle.collection + handle.status
    handle.wait(timeout=60.0)
    await newest
    result: IngestResult | EmbedResult | None = handle.result
    print(done, names, handle.is_over, handle.error, result)


async def batch_embedding(
    store: VectorStoreProtocol,
    provider: EmbeddingProvider,
    queue: TaskQueueProtocol,
    chunks: list[ChunkProtocol],
) -> None:
    worker = BatchEmbeddingWorker(store, provider, queue, "batch-embedding", 3, 100, True)
    durable = BatchEmbeddingWorker(concurrency=2)
    await worker.start()
    job_id: str = await worker.embed_batch(
        chunks, "papers", "text-embedding-ada-002", batch_size=50, use_cache=True, priority=1
    )
    progress: BatchEmbeddingProgress | None = await durable.get_progress(job_id)
    if progress is not None:
        percent: float = progress.progress_percent + progress.cache_hit_rate
        status: EmbeddingStatus = progress.status
        progress.update(EmbeddingStatus.STORING, texts_processed=3, cache_hits=1, cache_misses=2)
        print(percent, status, progress.to_dict()["status"])
    stats: dict[str, Any] = worker.get_stats()
    health: HealthCheckResult = await worker.health_check(timeout=1.0)
    is_well: bool = health.status is HealthStatus.HEALTHY or health.is_healthy()
    is_asked_by: bool = health.category is HealthCheckCategory.READINESS
    await worker.clear_cache()
    await worker.stop()
    print(stats, is_well, is_asked_by)


async def batch_embedding_types(chunks: list[Any], provider: EmbeddingProvider) -> None:
    job = BatchEmbeddingJob(chunks, "papers", model_name="mine", batch_size=10, use_cache=False)
    arguments: dict[str, Any] = job.to_job_kwargs()
    good: BatchEmbeddingResult = BatchEmbeddingResult.success_result("a1", 3, 1, 2.0)
    bad: BatchEmbeddingResult = BatchEmbeddingResult.failure_result("a1", "no space", 2.0, {})
    cache = EmbeddingCache()
    vector: list[float] | None = await cache.get("a text", "mine")
    await cache.set("a text", "mine", vector or [1.0])
    await cache.set_batch([("a text", [1.0])], "mine")
    cached, missing = await cache.get_batch(["a text"], "mine")
    vectors, hits, misses = await cache.get_embeddings_with_cache(["a text"], "mine", provider)
    await cache.clear()
    size: int = cache.size() + hits + misses
    tracker = ProgressTracker()
    await tracker.initialize_job("a1", 3, EmbeddingStatus.PENDING)
    await tracker.update_progress("a1", texts_processed=2, error=None)
    known: BatchEmbeddingProgress | None = await tracker.get_progress("a1")
    await tracker.remove_job("a1")
    active: list[str] = tracker.get_active_jobs()
    print(arguments, good.to_dict(), bad.success, cached, missing, vectors, size, known, active)
    print(tracker.get_stats())


async def document_ingesting(
    store: VectorStoreProtocol, queue: TaskQueueProtocol, parser: DocumentParser
) -> None:
    chunking: ChunkingConfigDict = {"chunk_size": 500, "chunk_overlap": 50}
    worker = DocumentIngestionWorker(
        store, queue, "document-ingestion", 3, chunking, parser, allowed_root=Path("/data")
    )
    durable = DocumentIngestionWorker()
    await worker.start()
    job_id: str = await worker.ingest_document(
        "d1", Path("/data/a.pdf"), "papers", parser, chunking, {"year": 2026}, 1, batch_size=10
    )
    progress: IngestionProgress | None = await durable.get_progress(job_id)
    if progress is not None:
        progress.update(IngestionStatus.EMBEDDING, pages_processed=1, chunks_processed=2)
        percent: float = progress.progress_percent
        print(percent, progress.to_dict())
    stats: dict[str, Any] = worker.get_stats()
    health: HealthCheckResult = await worker.health_check()
    await worker.stop()
    print(stats, health.to_dict())


async def loading(loader: DocumentLoader) -> None:
    for passage in await loader.load(Path("/data/a.pdf")):
        print(passage)


async def document_ingestion_types(store: VectorStoreProtocol, chunker: ChunkerProtocol) -> None:
    parser = UniversalDocumentParser(allowed_root=Path("/data"))
    document: Document = await parser.parse(Path("/data/a.pdf"))
    facts: dict[str, Any] = await parser.extract_metadata(Path("/data/a.pdf"))
    extensions: list[str] = parser.supported_extensions
    job = DocumentIngestionJob("d1", Path("/data/a.pdf"), "papers", parser, metadata=facts)
    tracker = document_ingestion.ProgressTracker()
    await tracker.initialize_progress("a1", "d1")
    await tracker.update_progress("d1", IngestionStatus.PARSING, total_chunks=3)
    known: IngestionProgress | None = await tracker.get_progress("a1")
    every: dict[str, IngestionProgress] = await tracker.get_all_progress()
    processor = DocumentProcessor(store, tracker, {"chunk_size": 500}, chunker, parser)
    result: IngestionResult = await processor.process_document(
        "d1", "/data/a.pdf", "papers", None, {}, batch_size=10
    )
    good: IngestionResult = IngestionResult.success_result("d1", 3, 2.0)
    bad: IngestionResult = IngestionResult.failure_result("d1", "encrypted", 2.0)
    print(document.content, document.metadata, extensions, job.to_job_kwargs(), known, every)
    print(result.to_dict(), good.chunks_created, bad.error, tracker.get_stats())


async def dead_letters(queue: TaskQueueProtocol, job: JobProtocol) -> None:
    worker = DeadLetterQueueWorker(queue, None, "dlq", 60, max_retries=5, base_backoff=60)
    durable = DeadLetterQueueWorker()

    async def notify(item: DLQItem) -> None:
        print(item.job_id)

    worker.set_notification_handler(notify)
    await worker.start()
    await worker.add_failed_job(job, "timed out")
    done: bool = await worker.retry_item("a1") or await durable.archive_item("a1")
    removed: bool = await worker.remove_item("a1")
    items: list[dict[str, Any]] = await worker.get_items(FailureCategory.TRANSIENT, limit=10)
    stats: DLQStats = await worker.get_stats()
    health: HealthCheckResult = await worker.health_check()
    await worker.stop()
    category: FailureCategory = ErrorClassifier.classify("timed out", job)
    print(done, removed, items, stats.to_dict(), health, category, DLQAction.NOTIFY)


def dead_letter_types(job: JobProtocol) -> None:
    now = datetime.now(UTC)
    item = DLQItem("a1", job, 1, now, now, "timed out", FailureCategory.TRANSIENT, next_retry=now)
    wait: int = item.calculate_backoff(base_delay=30)
    may: bool = item.can_retry()
    print(wait, may, item.to_dict())


async def maintenance(store: VectorStoreProtocol, handler: Callable[[], Any]) -> None:
    worker = MaintenanceWorker(store, "maintenance", check_interval=60)
    worker.register_task(
        "tidy", MaintenanceTaskType.CACHE_CLEANUP, handler, schedule_cron="0 2 * * *", timeout=60.0
    )
    worker.disable_task("tidy")
    worker.enable_task("tidy")
    await worker.start()
    result: MaintenanceResult = await worker.run_task_now("tidy")
    status: dict[str, Any] | None = worker.get_task_status("tidy")
    tasks: list[dict[str, Any]] = worker.get_all_tasks()
    results: list[dict[str, Any]] = worker.get_recent_results(limit=5)
    stats: dict[str, Any] = worker.get_stats()
    health: HealthCheckResult = await worker.health_check()
    reports: list[dict[str, Any]] = [
        await worker.optimize_vector_indexes(),
        await worker.cleanup_old_embeddings_cache(max_age_days=30),
        await worker.aggregate_metrics(),
    ]
    worker.unregister_task("tidy")
    await worker.stop()
    print(result, status, tasks, results, stats, health, reports)


def maintenance_types(handler: Callable[[], Any]) -> None:
    task = MaintenanceTask("tidy", MaintenanceTaskType.METRICS_ROLLUP, handler, interval_seconds=60)
    is_due: bool = task.should_run()
    next_due: datetime | None = task.next_due()
    started = datetime.now(UTC)
    good: MaintenanceResult = MaintenanceResult.success("tidy", task.task_type, started, 3, 1)
    bad: MaintenanceResult = MaintenanceResult.failure("tidy", task.task_type, started, "full")
    is_over: bool = good.status is MaintenanceStatus.COMPLETED
    print(is_due, next_due, task.to_dict(), good.to_dict(), bad.error, is_over)


def hooks() -> None:
    def started(hook: WorkerJobStartedHook) -> None:
        print(hook.job_type, hook.job_id, hook.event_id)

    async def completed(hook: WorkerJobCompletedHook) -> None:
        print(hook.job_type, hook.duration_seconds, hook.outcome)

    def ran(hook: WorkerMaintenanceRunHook) -> None:
        print(hook.task_type, hook.task_name, hook.run_id)

    def anything(hook: WorkerHook) -> None:
        print(hook.event_id)

    ends: list[Callable[[], None]] = [
        subscribe(WorkerJobStartedHook, started),
        subscribe(WorkerJobCompletedHook, completed),
        subscribe(WorkerMaintenanceRunHook, ran),
        subscribe(WorkerHook, anything),
    ]
    for end in ends:
        end()


async def adapters(
    worker: DocumentIngestionWorker,
    embedding_worker: BatchEmbeddingWorker,
    store: VectorStoreProtocol,
    chunker: ChunkerProtocol,
    documents: list[Any],
) -> None:
    bridge = LoaderWorkerBridge(worker, timeout=60.0, poll_interval=0.5)
    chunks: list[ChunkProtocol] = await bridge.load(Path("/data/a.pdf"))
    adapter = RAGIngestionAdapter(chunker, embedding_worker, store)
    ingested: Result[IngestionReport, IngestionError] = await adapter.ingest_to_rag(
        documents, collection="papers", model_name="mine", batch_size=10
    )
    if isinstance(ingested, Ok):
        report: IngestionReport = ingested.value
        print(report.document_count, report.chunk_count, report.collection, report.embedding_job_id)
    if isinstance(ingested, Err):
        print(ingested.error.reason, ingested.error.document_ids, chunks)


async def tasks_of(queue: TaskQueueProtocol) -> None:
    tasks = LexigramTasksAdapter(queue)
    job_id: str = await tasks.enqueue("batch_embed", {"texts": []}, priority=1, delay_seconds=0)
    count: int = await tasks.count("batch_embed")
    deleted: bool = await tasks.delete_job(job_id)
    print(await tasks.get_job(job_id), await tasks.dequeue("batch_embed"), count, deleted)
    print(await tasks.get_stats())


async def one_job(raw: JobProtocol) -> None:
    job = JobAdapter(raw)
    job_id: str = job.id
    data: dict[str, Any] = job.data
    created: datetime = job.created_at
    updated: datetime | None = job.updated_at
    await job.update_progress(50.0, {"stage": "parsing"})
    print(job_id, data, created, updated, job.status)


async def an_application(
    registrar: ContainerRegistrarProtocol, resolver: ContainerResolverProtocol
) -> None:
    config = WorkersConfig()
    modules: list[Any] = [WorkersModule.configure(config, enable_scheduler=False)]
    modules.append(WorkersModule.stub())
    provider: WorkersProvider = WorkersProvider.from_config(config)
    await provider.register(registrar)
    await provider.boot(resolver)
    health: HealthCheckResult = await provider.health_check()
    await provider.shutdown()
    print(modules, health)


def errors() -> None:
    error = WorkerError("x", code="mine", details={"k": 1}, cause=ValueError("y"), hint="mend it")
    code: str = error.code
    hint: str | None = error.hint
    facts: dict[str, object] = error.to_dict()
    related: list[WorkerError] = [DLQError("x"), MaintenanceError("x")]
    print(code, hint, facts, related)


class Doubled:
    """An embedding provider of one's own: it has the shape, and needs no base class."""

    async def embed_texts(self, texts: list[str]) -> list[list[float]]:
        return [[float(len(text))] for text in texts]


def shapes(client: EmbeddingClientProtocol, queue: DurableTaskQueue) -> None:
    provider: EmbeddingProvider = Doubled()
    durable: TaskQueueProtocol = queue
    print(provider, client, durable)
