"""`WorkersModule` and `WorkersProvider` with any container: what runs, how it starts and ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from lexigram_ray.workers.batch_embedding import BatchEmbeddingWorker
from lexigram_ray.workers.config import WorkersConfig
from lexigram_ray.workers.di import WorkersProvider, provider
from lexigram_ray.workers.dlq import DeadLetterQueueWorker
from lexigram_ray.workers.document_ingestion import DocumentIngestionWorker
from lexigram_ray.workers.maintenance import MaintenanceWorker
from lexigram_ray.workers.module import WorkersModule
from lexigram_ray.workers.protocols import (
    EmbeddingClientProtocol,
    EmbeddingProvider,
    HealthCheckResult,
    HealthStatus,
    TaskQueueProtocol,
    VectorStoreProtocol,
)
from tests.application_process import in_a_process
from tests.command_line import REPOSITORY, clean_environment
from tests.small_container import SmallContainer

BATCH, DOCUMENTS = BatchEmbeddingWorker, DocumentIngestionWorker
MAINTENANCE, LETTERS = MaintenanceWorker, DeadLetterQueueWorker
ALL = [BATCH, DOCUMENTS, MAINTENANCE, LETTERS]


@dataclass
class Double:
    """A worker that notes what is done to it."""

    kind: type
    notes: list[str]
    start_fails: Exception | None = None
    stop_takes: float = 0.0
    stop_fails: Exception | None = None
    status: HealthStatus = HealthStatus.HEALTHY
    answer_takes: float = 0.0
    asked: list[float] = field(default_factory=list[float])

    async def start(self) -> None:
        self.notes.append(f"start {self.kind.__name__}")
        if self.start_fails is not None:
            raise self.start_fails

    async def stop(self) -> None:
        self.notes.append(f"stop {self.kind.__name__}")
        if self.stop_fails is not None:
            raise self.stop_fails
        await asyncio.sleep(self.stop_takes)
        self.notes.append(f"stopped {self.kind.__name__}")

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        self.asked.append(timeout)
        await asyncio.sleep(self.answer_takes)
        component = f"worker.{self.kind.__name__}"
        error = None if self.status is HealthStatus.HEALTHY else "it says so"
        return HealthCheckResult(component=component, status=self.status, error=error)


def doubles(notes: list[str] | None = None, **changed: dict[str, Any]) -> dict[type, Double]:
    kept: list[str] = [] if notes is None else notes
    return {kind: Double(kind, kept, **changed.get(kind.__name__, {})) for kind in ALL}


def names(notes: list[str], verb: str) -> list[str]:
    return [note.split()[1] for note in notes if note.split()[0] == verb]


async def booted(
    workers: dict[type, Double], config: WorkersConfig | None = None, **options: Any
) -> WorkersProvider:
    container = SmallContainer(dict(workers))
    made = WorkersProvider(config or WorkersConfig(), **options)
    await made.register(container)
    await made.boot(container)
    return made


def classes(*kinds: type) -> list[str]:
    return [kind.__name__ for kind in kinds]


@pytest.mark.parametrize(
    ("settings", "scheduler", "running"),
    [
        ({}, True, ALL),
        ({}, False, [BATCH, DOCUMENTS]),
        ({"enable_maintenance": False}, True, [BATCH, DOCUMENTS, LETTERS]),
        ({"enable_maintenance": False}, False, [BATCH, DOCUMENTS]),
        ({"enabled": False}, True, []),
    ],
    ids=["all", "no scheduler", "no maintenance", "neither", "disabled"],
)
def test_those_workers_run_that_are_to_run_and_stop_in_reverse_order(
    settings: dict[str, Any], scheduler: bool, running: list[type]
) -> None:
    notes: list[str] = []

    async def live() -> HealthCheckResult:
        config = WorkersConfig(**settings)
        made = await booted(doubles(notes), config, enable_scheduler=scheduler)
        health = await made.health_check()
        await made.shutdown()
        return health

    health = asyncio.run(live())

    assert names(notes, "start") == classes(*running)
    assert names(notes, "stop") == classes(*reversed(running))
    assert names(notes, "stopped") == classes(*reversed(running))
    assert health.status == HealthStatus.HEALTHY
    assert len((health.details or {})["workers"]) == len(running)


def test_workers_drain_side_by_side_and_no_task_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "STOP_SECONDS", 5.0)
    slow = {"stop_takes": 0.3}
    workers = doubles(**{kind.__name__: slow for kind in ALL})

    async def live() -> tuple[float, int]:
        made = await booted(workers)
        began = time.monotonic()
        await made.shutdown()
        await asyncio.sleep(0)
        return time.monotonic() - began, len(asyncio.all_tasks())

    seconds, tasks = asyncio.run(live())

    assert seconds < 0.9
    assert tasks == 1


def test_one_that_does_not_stop_in_time_or_fails_keeps_no_other_from_stopping(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(provider, "STOP_SECONDS", 0.2)
    notes: list[str] = []
    workers = doubles(
        notes,
        MaintenanceWorker={"stop_takes": 60.0},
        DeadLetterQueueWorker={"stop_fails": RuntimeError("no")},
    )

    async def live() -> int:
        made = await booted(workers)
        await made.shutdown()
        return len(asyncio.all_tasks())

    assert asyncio.run(live()) == 1
    assert names(notes, "stopped") == classes(DOCUMENTS, BATCH)
    assert "has not stopped within" in caplog.text
    assert "could not be stopped in good order" in caplog.text


def test_one_that_cannot_start_fails_the_boot_and_the_others_are_stopped() -> None:
    notes: list[str] = []
    workers = doubles(notes, DocumentIngestionWorker={"start_fails": OSError("disk is full")})

    async def live() -> tuple[HealthStatus, int]:
        made = WorkersProvider(WorkersConfig())
        container = SmallContainer(dict(workers))
        await made.register(container)
        with pytest.raises(OSError, match="disk is full"):
            await made.boot(container)
        return (await made.health_check()).status, len(asyncio.all_tasks())

    assert asyncio.run(live()) == (HealthStatus.UNHEALTHY, 1)
    assert names(notes, "stopped") == classes(*reversed(ALL))


def test_a_start_that_goes_on_for_ever_holds_up_neither_boot_nor_shutdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provider, "START_SECONDS", 0.1)
    monkeypatch.setattr(provider, "STOP_SECONDS", 0.2)

    class Loops(Double):
        async def start(self) -> None:
            await asyncio.Event().wait()

    async def live() -> tuple[HealthStatus, int]:
        workers = doubles() | {BATCH: Loops(BATCH, [])}
        made = await booted(workers)
        health = await made.health_check()
        await made.shutdown()
        await asyncio.sleep(0)
        return health.status, len(asyncio.all_tasks())

    assert asyncio.run(live()) == (HealthStatus.HEALTHY, 1)


def test_health_is_that_of_the_worst_worker_and_names_it() -> None:
    workers = doubles(
        DocumentIngestionWorker={"status": HealthStatus.DEGRADED},
        MaintenanceWorker={"status": HealthStatus.UNHEALTHY},
    )

    async def live() -> list[HealthCheckResult]:
        made = WorkersProvider(WorkersConfig())
        before = await made.health_check()
        made = await booted(workers)
        bad = await made.health_check(2.0)
        workers[MAINTENANCE].status = HealthStatus.HEALTHY
        better = await made.health_check()
        workers[DOCUMENTS].status = HealthStatus.HEALTHY
        good = await made.health_check()
        await made.shutdown()
        return [before, bad, better, good, await made.health_check()]

    results = asyncio.run(live())

    assert [result.component for result in results] == ["workers"] * 5
    assert [result.status.value for result in results] == [
        "unhealthy",
        "unhealthy",
        "degraded",
        "healthy",
        "unhealthy",
    ]
    assert "worker.MaintenanceWorker: it says so" in (results[1].error or "")
    assert (results[3].details or {})["status"] == "operational"
    assert workers[BATCH].asked[0] <= 2.0


def test_fault_12_a_health_check_keeps_its_timeout_and_a_silent_worker_is_unhealthy() -> None:
    workers = doubles(BatchEmbeddingWorker={"answer_takes": 30.0})

    async def live() -> tuple[HealthCheckResult, float]:
        made = await booted(workers)
        began = time.monotonic()
        health = await made.health_check(timeout=0.5)
        seconds = time.monotonic() - began
        await made.shutdown()
        return health, seconds

    health, seconds = asyncio.run(live())

    assert seconds < 0.5
    assert health.status == HealthStatus.UNHEALTHY
    assert "no answer within" in (health.error or "")


# -- What the workers are made of ------------------------------------------------------------------


async def made_by(
    container: SmallContainer, config: WorkersConfig | None = None, **options: Any
) -> dict[type, Any]:
    """Register with a container, and resolve all workers; nothing is started."""
    made = WorkersProvider(config or WorkersConfig(), **options)
    await made.register(container)
    return {kind: await container.resolve(kind) for kind in ALL}


def test_numbers_of_the_configuration_are_passed_on(tmp_path: Path) -> None:
    config = WorkersConfig(
        state_dir=tmp_path,
        batch_embedding_concurrency=7,
        document_ingestion_concurrency=5,
        dlq_check_interval=11,
    )
    container = SmallContainer()
    workers = asyncio.run(made_by(container, config))

    assert workers[BATCH].concurrency == 7
    assert workers[DOCUMENTS].concurrency == 5
    assert workers[LETTERS].check_interval == 11
    assert container.objects[WorkersConfig] is config
    assert container.registered == [WorkersConfig, *ALL]


class Store:
    async def add_texts(self, texts: list[str], **_: Any) -> list[str]:
        return texts


class Client:
    async def embed(self, texts: list[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]


class Queue:
    async def enqueue(self, task: Any) -> str:
        return "job"

    async def dequeue(self) -> None:
        return None


@pytest.mark.parametrize("key", [EmbeddingClientProtocol, EmbeddingProvider])
def test_what_is_bound_in_the_container_is_used(tmp_path: Path, key: type) -> None:
    store, client, queue = Store(), Client(), Queue()
    bound = {VectorStoreProtocol: store, key: client, TaskQueueProtocol: queue}
    config = WorkersConfig(state_dir=tmp_path)
    workers = asyncio.run(made_by(SmallContainer(bound), config))

    assert workers[BATCH].vector_store is store
    assert workers[BATCH].embedding_provider is client
    assert workers[BATCH].queue.shared is queue
    assert workers[DOCUMENTS].vector_store is store
    assert workers[DOCUMENTS].queue.shared is queue
    assert workers[MAINTENANCE].vector_store is store
    assert workers[LETTERS].main_queue is queue


def test_what_the_provider_was_given_goes_before_what_is_bound(tmp_path: Path) -> None:
    mine, theirs = Store(), Store()
    config = WorkersConfig(state_dir=tmp_path)
    container = SmallContainer({VectorStoreProtocol: theirs})
    workers = asyncio.run(made_by(container, config, vector_store=mine))

    assert workers[BATCH].vector_store is mine


def test_doubles_of_container_and_workers_do() -> None:
    async def live() -> tuple[HealthCheckResult, list[str]]:
        worker = AsyncMock()
        container = MagicMock(resolve=AsyncMock(return_value=worker))
        made = WorkersProvider(WorkersConfig())
        await made.register(container)
        await made.boot(container)
        health = await made.health_check()
        await made.shutdown()
        registered = [call.args[0] for call in container.singleton.call_args_list]
        assert registered == [WorkersConfig, *ALL]
        assert container.resolve.await_args_list == [((kind,),) for kind in ALL]
        return health, [call[0] for call in worker.method_calls if call[0] != "health_check"]

    health, calls = asyncio.run(live())

    assert calls == ["start"] * 4 + ["stop"] * 4
    assert health.status == HealthStatus.UNKNOWN


def test_a_container_that_calls_factories_with_nothing_does(tmp_path: Path) -> None:
    class Bare(SmallContainer):
        async def resolve(self, service_type: Any, *, bypass_visibility: bool = False) -> Any:
            if service_type not in self.objects:
                self.objects[service_type] = await self.factories[service_type]()
            return self.objects[service_type]

    store = Store()
    container = Bare({VectorStoreProtocol: store})
    workers = asyncio.run(made_by(container, WorkersConfig(state_dir=tmp_path)))

    assert workers[BATCH].vector_store is store


def test_an_unknown_option_is_refused_by_its_name() -> None:
    with pytest.raises(TypeError, match="vektor_store"):
        WorkersProvider(WorkersConfig(), vektor_store=Store())
    with pytest.raises(TypeError, match="vektor_store"):
        WorkersModule.configure(vektor_store=Store())


# -- The module ------------------------------------------------------------------------------------


def test_configure_and_stub_return_a_module_with_its_provider() -> None:
    config = WorkersConfig(dlq_check_interval=5)
    configured = WorkersModule.configure(config, enable_scheduler=False, required=False)
    stub = WorkersModule.stub()

    assert configured.module is WorkersModule
    assert [type(each) for each in configured.providers] == [WorkersProvider]
    assert configured.providers[0].config is config
    assert configured.providers[0].required is False
    assert set(configured.exports) >= {WorkersConfig, *ALL}
    assert (configured.imports, configured.controllers, configured.is_global) == ([], [], False)
    assert stub.providers[0].name == "workers"


def test_from_config_takes_what_the_constructor_takes_and_leaves_the_rest() -> None:
    config = WorkersConfig(dlq_check_interval=5)
    notes: list[str] = []

    async def live() -> None:
        made = WorkersProvider.from_config(config, enable_scheduler=False, tenant="port")
        container = SmallContainer(dict(doubles(notes)))
        await made.register(container)
        await made.boot(container)
        await made.shutdown()

    asyncio.run(live())

    assert names(notes, "start") == classes(BATCH, DOCUMENTS)


def test_only_the_module_and_the_provider_import_the_framework() -> None:
    code = (
        "import sys, lexigram_ray.workers, lexigram_ray.workers.di\n"
        "from lexigram_ray.workers import WorkersConfig, protocols\n"
        "print(any(name.split('.')[0] == 'lexigram' for name in sys.modules))\n"
        "from lexigram_ray.workers import WorkersModule\n"
        "print(*{'ray', 'torch', 'lance', 'transformers'}.intersection(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[0] == "False"
    assert done.stdout.splitlines()[-1] == ""


def test_a_stub_works_in_a_temporary_directory_alone_and_leaves_nothing(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    (home / "application.yaml").write_text("ai_workers: {nonsense: true}\n")
    told = in_a_process(
        """
        async def live():
            class Client:
                async def embed(self, texts):
                    return [[1.0, float(len(text))] for text in texts]

            [provider] = WorkersModule.stub().providers
            container = SmallContainer({EmbeddingClientProtocol: Client()})
            await provider.register(container)
            await provider.boot(container)
            worker = await container.resolve(BatchEmbeddingWorker)
            chunk = type("Chunk", (), {"text": "The moon pulls the water.", "metadata": {}})
            job_id = await worker.embed_batch([chunk], "sea")
            while (await worker.get_progress(job_id)).status not in ENDS:
                await asyncio.sleep(0.1)
            print((await worker.get_progress(job_id)).to_dict()["status"])
            print((await container.resolve(MaintenanceWorker)).get_stats()["running"])
            print(len(list(Path(tempfile.gettempdir()).glob("lexigram-ray-stub-*"))))
            await provider.shutdown()
            print(len(list(Path(tempfile.gettempdir()).glob("lexigram-ray-stub-*"))))
        asyncio.run(live())
        """,
        home,
        HOME=str(home),
        TMPDIR=str(temporary),
        XDG_DATA_HOME="",
        LEX_AI_WORKERS__STATE_DIR=str(home / "production"),
    )

    assert told.splitlines() == ["completed", "False", "1", "0"]
    assert [path.name for path in home.iterdir()] == ["application.yaml"]
