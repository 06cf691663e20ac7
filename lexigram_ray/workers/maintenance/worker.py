"""`MaintenanceWorker`: handlers of one's own, run again and again in this process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lexigram_ray.core.call_settings import settings_of
from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.schedule_records import Trigger
from lexigram_ray.workers.constants import DEFAULT_CHECK_INTERVAL, DEFAULT_TASK_TIMEOUT
from lexigram_ray.workers.maintenance._book import Book
from lexigram_ray.workers.maintenance._builtin_handlers import BuiltInHandlers
from lexigram_ray.workers.maintenance._health_verdict import Facts, failing_tasks, verdict_of
from lexigram_ray.workers.maintenance._isolated import path_of
from lexigram_ray.workers.maintenance._probing import Probe
from lexigram_ray.workers.maintenance._runner import Runner
from lexigram_ray.workers.maintenance._scheduling import SchedulerLoop
from lexigram_ray.workers.maintenance._task_checks import (
    checked_handler,
    checked_name,
    checked_schedule,
    checked_seconds,
    checked_type,
)
from lexigram_ray.workers.maintenance._timing import begin_timing
from lexigram_ray.workers.protocols import HealthCheckResult, VectorStoreProtocol
from lexigram_ray.workers.types import (
    MaintenanceResult,
    MaintenanceStatus,
    MaintenanceTask,
    MaintenanceTaskType,
)

DRAIN_SECONDS = 30.0

logger = logging.getLogger("lexigram_ray")


def _now() -> datetime:
    return datetime.now(UTC)


class MaintenanceWorker(BuiltInHandlers):
    """Runs tasks at their times, in the event loop that has started it.

        worker = MaintenanceWorker()
        worker.register_task(
            "clean_cache",
            MaintenanceTaskType.CACHE_CLEANUP,
            worker.cleanup_old_embeddings_cache,
            schedule_cron="0 2 * * *",
        )
        await worker.start()

    A task never runs beside itself: a time that comes while its run goes on is skipped. Times that
    have passed unseen are made up for by one run. What is registered here lives as long as this
    object: schedules that outlive processes are those of `lexigram-ray maintenance`.

    Args:
        vector_store: Whose indexes `optimize_vector_indexes` looks after; None, or one of ours, is
            all collections of the state directory.
        worker_id: Names it in logs and health checks.
        check_interval: Most seconds between two looks at what is due; it looks earlier where
            something is due earlier.
        config: The configuration, or its file instead of ./application.yaml.
        state: The state directory that the built-in handlers work on.
        drain_seconds: How long `stop` waits for runs before it ends them.
        clock: Returns the time, with a zone; this machine's clock unless given.

    Raises:
        ConfigError: The configuration is wrong.
        MaintenanceError: A number of seconds is wrong; it is a ValueError too.
    """

    def __init__(
        self,
        vector_store: VectorStoreProtocol | None = None,
        worker_id: str = "maintenance",
        check_interval: int = DEFAULT_CHECK_INTERVAL,
        *,
        config: WorkersConfig | Path | str | None = None,
        state: Path | str | None = None,
        drain_seconds: float = DRAIN_SECONDS,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        super().__init__(vector_store, settings_of(config, state))
        self.worker_id = worker_id
        self.check_interval = check_interval
        self._drain_seconds = checked_seconds("drain_seconds", drain_seconds, or_zero=True)
        self._clock = lambda: clock().astimezone(UTC)
        self._book = Book()
        self._was_started = False
        self._probe = Probe(vector_store, self._config)
        self._loop = SchedulerLoop(
            self._book,
            Runner(self._book, self._clock),
            self._clock,
            checked_seconds("check_interval", check_interval),
        )

    @property
    def running(self) -> bool:
        """Whether it looks what is due."""
        return self._loop.is_running

    async def start(self) -> None:
        """Begin to run tasks by themselves; where it does already, nothing happens.

        A task with an interval that has not run yet runs at once.
        """
        if self._loop.is_running:
            logger.warning("the maintenance worker %s runs already", self.worker_id)
            return
        await self._loop.start()
        self._was_started = True
        logger.info("the maintenance worker %s has started", self.worker_id)

    async def stop(self) -> None:
        """Begin no more runs, and end when those under way have ended.

        After `drain_seconds` async handlers are cancelled and processes killed; a plain handler's
        thread is left to itself. It can be started again.
        """
        was_started, self._was_started = self._was_started, False
        await self._loop.stop(self._drain_seconds)
        if was_started:
            logger.info("the maintenance worker %s has stopped", self.worker_id)

    def register_task(
        self,
        name: str,
        task_type: MaintenanceTaskType,
        handler: Callable[[], Any],
        schedule_cron: str | None = None,
        interval_seconds: int | None = None,
        enabled: bool = True,
        timeout: float = DEFAULT_TASK_TIMEOUT,
        *,
        timezone: str | None = None,
        isolated: bool = False,
    ) -> None:
        """Have a handler run again and again; give either a cron expression or an interval.

        Args:
            name: Unique in this worker.
            task_type: What kind of maintenance it is.
            handler: Sync (then it runs in a thread) or async; takes nothing. From a dict that it
                returns, `items_processed`, `items_deleted` and `metadata` get into the result, and
                whatever else is in it into the result's metadata.
            schedule_cron: Five fields, minute hour day month weekday, or a short form such as
                `@daily`. It first runs at the next such time.
            interval_seconds: Between two starts. It first runs at once.
            enabled: Whether it runs by itself.
            timeout: Seconds after which a run has failed. An async handler is cancelled then. A
                thread cannot be stopped: it is left, and the task does not run before it has ended.
            timezone: IANA name of the zone whose clock `schedule_cron` is read by; else
                `maintenance.timezone` of the configuration.
            isolated: Call the handler, a function of a module, in a process of its own, which is
                killed when its time is over. Its working directory is `/`, and its answer must be
                JSON.

        Raises:
            MaintenanceError: The name is taken, or a value is wrong; it is a ValueError too.
        """
        checked_name(name, ())
        zone = self._config.maintenance.timezone if timezone is None else timezone
        schedule = checked_schedule(name, schedule_cron, interval_seconds, zone, timeout)
        task = MaintenanceTask(
            name=name,
            task_type=checked_type(task_type, name),
            handler=checked_handler(handler, name),
            schedule_cron=schedule_cron,
            interval_seconds=interval_seconds,
            enabled=bool(enabled),
            timeout=timeout,
            timezone=zone,
        )
        if isolated:
            path_of(handler, name)
        self._book.add(task, begin_timing(schedule, self._clock()), isolated=isolated)
        self._loop.wake()
        logger.info("maintenance task %s is registered", name)

    def unregister_task(self, name: str) -> None:
        """Forget a task. A run that is under way goes on to its end.

        Raises:
            MaintenanceError: There is no such task; it is a ValueError too, as below.
        """
        self._book.remove(name)

    def enable_task(self, name: str) -> None:
        """Have a task run by itself, from now on.

        Raises:
            MaintenanceError: There is no such task.
        """
        self._book.switch(name, self._clock(), enabled=True)
        self._loop.wake()

    def disable_task(self, name: str) -> None:
        """Keep a task from running by itself; `run_task_now` still runs it.

        Raises:
            MaintenanceError: There is no such task.
        """
        self._book.switch(name, self._clock(), enabled=False)

    async def run_task_now(self, name: str) -> MaintenanceResult:
        """Run a task, be the worker started and the task enabled or not.

        Its schedule stays as it is. The run is counted and remembered as others are.

        Returns:
            How it ended: also one that failed is returned, not raised. `skipped` where a run of
            the task still goes on.

        Raises:
            MaintenanceError: There is no such task.
        """
        return await self._loop.run(self._book.entry(name), Trigger.MANUAL)

    def get_stats(self) -> dict[str, Any]:
        """Return what there is and what has been; runs are counted since this object was made.

        `total_runs` are those that have ended, well or not; `skipped_runs` times at which nothing
        ran because the run before still went on; `stuck_runs` threads and coroutines that go on
        although their time is over.
        """
        counts, now = self._book.counts, self._clock()
        done, failed = counts[MaintenanceStatus.COMPLETED], counts[MaintenanceStatus.FAILED]
        following = self._book.next_look(now)
        return {
            "worker_id": self.worker_id,
            "running": self.running,
            "registered_tasks": self._book.size(),
            "total_runs": done + failed,
            "successful_runs": done,
            "failed_runs": failed,
            "history_size": self._book.history_size(),
            "skipped_runs": counts[MaintenanceStatus.SKIPPED],
            "active_runs": len(self._book.running()),
            "stuck_runs": len(self._book.stuck()),
            "next_run": following.isoformat() if following is not None else None,
        }

    def get_task_status(self, name: str) -> dict[str, Any] | None:
        """Return a task as it stands, ready for JSON; None where there is none of that name."""
        return self._book.task(name, self._clock())

    def get_all_tasks(self) -> list[dict[str, Any]]:
        """Return all tasks as they stand, in the order of their registration."""
        return self._book.tasks(self._clock())

    def get_recent_results(self, limit: int = 10) -> list[dict[str, Any]]:
        """Return how the last runs have ended, the latest last.

        Args:
            limit: Most of them; `MAX_HISTORY_SIZE` are remembered.
        """
        return [each.to_dict() for each in self._book.recent(limit)]

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        """Say how the worker is: it takes no longer than `timeout` seconds.

        Returns:
            `unhealthy` where it does not run; `degraded` where the last run of a task has failed or
            found faults, a run goes on although its time is over, or what it works on (the vector
            store, else the job store) does not answer; else `healthy`.
        """
        began = time.monotonic()
        obstacle = await self._probe.obstacle(timeout) if self.running else ""
        results = self._book.last_results()
        verdict = verdict_of(
            Facts(
                was_started=self._was_started,
                is_running=self.running,
                seconds_since_look=self._loop.seconds_since_look,
                check_interval=self.check_interval,
                last_results=results,
                stuck=self._book.stuck(),
                obstacle=obstacle,
            )
        )
        return HealthCheckResult(
            component=f"worker.maintenance.{self.worker_id}",
            status=verdict.status,
            message=verdict.message,
            error=verdict.error,
            duration_ms=(time.monotonic() - began) * 1000.0,
            details=self.get_stats() | {"unwell_tasks": failing_tasks(results)},
            checked_at=datetime.now(UTC),
        )
