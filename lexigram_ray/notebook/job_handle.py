"""A job by its id: how far it is, from whatever process works on it; and `attach`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lexigram_ray.cli.embed_progress import EmbedMoment
from lexigram_ray.cli.ingest_progress import IngestMoment
from lexigram_ray.cli.job_ids import existing_store, find_job
from lexigram_ray.core.call_settings import settings_of
from lexigram_ray.core.errors import UsageError
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedReport
from lexigram_ray.jobs.report import IngestReport
from lexigram_ray.jobs.requests import EMBED, INGEST
from lexigram_ray.jobs.watching import LOOK_EVERY_SECONDS
from lexigram_ray.notebook.bar import display_for
from lexigram_ray.notebook.cards import embed_card
from lexigram_ray.notebook.hints import hints_shown
from lexigram_ray.notebook.ingest_result import IngestResult
from lexigram_ray.notebook.job_cards import ingest_card, job_card
from lexigram_ray.notebook.job_watch import JobWatch
from lexigram_ray.notebook.results import EmbedResult
from lexigram_ray.notebook.shown_run import run_shown

if TYPE_CHECKING:
    from lexigram_ray.cli.moment import Moment
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.types import JobStatus
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.report import Progress
    from lexigram_ray.jobs.store import Store


def attach(
    job_id: str | None = None,
    *,
    state: Path | str | None = None,
    config: WorkersConfig | Path | str | None = None,
) -> JobHandle:
    """Return a handle on a job that this or another process has submitted: it is in the store.

    Args:
        job_id: The job's id, or its beginning; None for the newest job.
        state: Where jobs are kept.
        config: The configuration, or its file instead of ./application.yaml.

    Raises:
        UsageError: There is no such job.
    """
    with hints_shown():
        settings = settings_of(config, state)
        with _open(settings) as store:
            job = _newest(store) if job_id is None else find_job(store, job_id)
        return JobHandle(job, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a job is, in documents or texts.

    Attributes:
        total: 0 while unknown.
        done: Whatever ended, failures among it.
        failed: What could not be read or embedded.
    """

    total: int
    done: int
    failed: int

    @property
    def percent(self) -> float:
        """Of the total that is done, from 0 to 100; 0 while the total is unknown."""
        return min(100.0, 100.0 * self.done / self.total) if self.total else 0.0


class JobHandle:
    """A job in the store. What it tells is looked up when it is asked.

    `wait()` waits for its end; `await handle` does so without holding up a notebook's event loop.
    """

    def __init__(self, job: Job, config: WorkersConfig) -> None:
        self._job = job
        self._config = config

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self._job.id

    @property
    def kind(self) -> str:
        """`ingest` or `embed`, or `maintenance`."""
        return self._job.kind

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self._job.collection

    @property
    def status(self) -> JobStatus:
        """Its state now."""
        return self._look().status

    @property
    def is_over(self) -> bool:
        """Whether it has completed, failed or been cancelled."""
        return self._look().status.is_final

    @property
    def progress(self) -> JobProgress:
        """How far it is now."""
        return JobProgress(**asdict(Counts.of(self._look())))

    @property
    def error(self) -> str | None:
        """Why it failed; None of one that has not."""
        return self._look().error

    @property
    def result(self) -> IngestResult | EmbedResult | None:
        """What it has done; None until it is over, and of maintenance, which has no collection."""
        job = self._look()
        if not job.status.is_final:
            return None
        if job.kind == INGEST:
            return IngestResult(IngestReport.of_job(job), self._config)
        if job.kind == EMBED:
            return EmbedResult(EmbedReport.of_job(job), self._config)
        return None

    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> JobHandle:
        """Wait until the job is over, whoever works on it, and return this handle.

        An interrupt ends the waiting and not the job.

        Args:
            timeout: Seconds; None waits for as long as it takes.
            progress: Whether to show progress; None shows it in a notebook or a terminal.

        Raises:
            TimeoutError: It is not over by then.
        """
        if self.is_over:
            return self
        with _open(self._config) as store, display_for(progress) as display:
            watch = JobWatch(self._job, self._config, display, timeout)
            while not watch.look(store):
                watch.show()
                time.sleep(LOOK_EVERY_SECONDS)
            watch.show()
        self._job = watch.job
        return self

    def __await__(self) -> Generator[object, None, JobHandle]:
        return self._wait_beside_others().__await__()

    def run(self, *, progress: bool | None = None) -> JobHandle:
        """Work on the job in this process until it is over, and return this handle.

        For a job that nobody works on, such as one whose process is gone. What it has done already
        is not done again.

        Args:
            progress: Whether to show progress; None shows it in a notebook or a terminal.

        Raises:
            KeyboardInterrupt: It was interrupted. What was done is kept.
            LeaseLostError: Another process works on it, or has ended it.
            WorkerError: The run failed; the job can be resumed.
        """
        from lexigram_ray.jobs.claiming import Stopped
        from lexigram_ray.runtime.resume import run_job

        if self.is_over:
            return self
        with hints_shown():
            run_shown(
                lambda on_progress, stop: run_job(
                    self._config, self.job_id, stop=stop, on_progress=on_progress
                ),
                _moment_of,
                progress=progress,
                stopping="what is done is kept, and the job can be resumed",
                stopped=Stopped,
                how_far=str,
            )
        return self

    def cancel(self) -> JobHandle:
        """End the job for good; what is done is kept. Whoever works on it stops within seconds."""
        from lexigram_ray.jobs.owner import Owner

        seconds = self._config.jobs.lease_seconds
        with hints_shown(), _open(self._config) as store:
            self._job = store.cancel(self.job_id, Owner.current(), turn_seconds=seconds)
        return self

    async def _wait_beside_others(self) -> JobHandle:
        if (await asyncio.to_thread(self._look)).status.is_final:
            return self
        opened = await asyncio.to_thread(_open, self._config)
        with opened as store, display_for(None) as display:
            watch = JobWatch(self._job, self._config, display, timeout=None)
            while not await asyncio.to_thread(watch.look, store):
                watch.show()
                await asyncio.sleep(LOOK_EVERY_SECONDS)
            watch.show()
        self._job = watch.job
        return self

    def _look(self) -> Job:
        """Look the job up; one that is over stays as it is."""
        if not self._job.status.is_final:
            with _open(self._config) as store:
                self._job = _found(store, self._job.id)
        return self._job

    def __repr__(self) -> str:
        job = self._look()
        counts = Counts.of(job)
        return (
            f"JobHandle({job.id!r}, kind={job.kind!r}, collection={job.collection!r}, "
            f"status={job.status.value!r}, done={counts.done}, total={counts.total}, "
            f"failed={counts.failed})"
        )

    def _repr_html_(self) -> str:
        job = self._look()
        if job.status.is_final and job.summary and job.kind == INGEST:
            return ingest_card(IngestReport.of_job(job))
        if job.status.is_final and job.summary and job.kind == EMBED:
            return embed_card(EmbedReport.of_job(job))
        return job_card(job, datetime.now(UTC))


def _moment_of(now: Progress | EmbedProgress) -> Moment:
    return EmbedMoment(now) if isinstance(now, EmbedProgress) else IngestMoment(now)


def _open(config: WorkersConfig) -> Store:
    return existing_store(config, hint="say where they are with state=..., or submit one")


def _found(store: Store, job_id: str) -> Job:
    job = store.get(job_id)
    if job is None:
        raise UsageError(
            f"job {job_id} is gone from the store", hint="`lexigram-ray jobs list` shows them"
        )
    return job


def _newest(store: Store) -> Job:
    jobs, _ = store.list_jobs(limit=1)
    if not jobs:
        raise UsageError("there are no jobs yet", hint="submit one")
    return jobs[0]
