"""Threads of this process that work on the ready jobs of one kind, beside whatever `up` runs.

The store's leases decide who works on a job, and nothing is kept here that is not there: a process
that dies at it leaves its jobs to whoever looks next.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import dataclass

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.requests import EMBED, INGEST, needs_object
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.hook_teller import HookTeller
from lexigram_ray.runtime.settling import may_start, work_on

logger = logging.getLogger("lexigram_ray")

POLL_SECONDS = 0.5
TELL_SECONDS = 0.2
AGAIN_SECONDS = 3.0
"""Between two tries of one job by this process."""
LOOK_AHEAD = 16
LOOK_FAR_AHEAD = 2_000
"""Where all of the first ones are not this process's to begin."""
LAST_TELLING_SECONDS = 2.0
BEAT_SECONDS = 0.5
"""How often progress is saved: somebody waits for it."""
GIVING_BACK_SECONDS = 30.0
"""How long a job that is asked to stop may take to commit what it has."""

JOB_TYPES = {EMBED: "batch_embed", INGEST: "ingest_document"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    thread: threading.Thread
    stop: threading.Event


class DurableWork:
    """Works on the jobs of a kind that wait in the store.

    Args:
        config: Says where the store is, and how this process works.
        kind: `embed` or `ingest`.
        worker_id: Names the worker in the jobs' attempts and the file of what hooks have told.
    """

    def __init__(self, config: WorkersConfig, kind: str, worker_id: str = "worker") -> None:
        self._config = _with_quick_beats(config)
        self._kind = kind
        self._worker_id = worker_id
        self._use = threading.Lock()
        self._changing = threading.Lock()
        self._store: Store | None = None
        self._teller: HookTeller | None = None
        self._runs: dict[str, _Run] = {}
        self._tried: dict[str, float] = {}
        self._ending = threading.Event()
        self._woken = threading.Event()
        self._threads: list[threading.Thread] = []

    # -- Looking -----------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The store, opened at the first use.

        Raises:
            StoreUnreachableError: It cannot be opened.
        """
        with self._use:
            if self._store is None:
                self._store = Store.open(self._config.paths.store_url)
            return self._store

    def progress_of(self, job_id: str) -> Job | None:
        """Return a job of this kind as it is now, whoever works on it; None where there is none.

        Raises:
            StoreUnreachableError: The store does not answer.
        """
        job = self.store.get(job_id)
        return job if job is not None and job.kind == self._kind else None

    def counts(self) -> dict[JobStatus, int]:
        """Return how many jobs of this kind are in each state.

        Raises:
            StoreUnreachableError: The store does not answer.
        """
        return self.store.counts(kind=self._kind)

    @property
    def running(self) -> bool:
        """Whether it begins jobs."""
        return any(each.is_alive() for each in self._threads) and not self._ending.is_set()

    @property
    def active(self) -> int:
        """How many jobs this process works on now."""
        with self._use:
            return len(self._runs)

    # -- Working -----------------------------------------------------------------------------------

    def start(self, concurrency: int) -> None:
        """Begin to work on ready jobs, so many at once; does nothing where it does so already.

        Raises:
            StoreUnreachableError: The store cannot be opened.
        """
        with self._changing:
            if not self.running:
                self._start(max(1, concurrency))

    def _start(self, concurrency: int) -> None:
        teller = self._hooks()
        teller.take_over()
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._keep_looking, args=(concurrency, self._ending), daemon=True
            ),
            threading.Thread(target=self._keep_telling, args=(teller, self._ending), daemon=True),
        ]
        for thread in self._threads:
            thread.name = f"{self._worker_id} {self._kind}"
            thread.start()

    def submitted(self, job_id: str) -> None:
        """Look for jobs now: one was recorded, whose hooks this process wants to hear."""
        self._hooks().watch(job_id)
        self._woken.set()

    def stop(self, drain_seconds: float) -> None:
        """Begin no job any more, and wait for those under way.

        Those that have not ended within `drain_seconds` are given back: pending, and what they
        have committed is kept. Returns when all have ended or given back, or a further while later.
        """
        # At once, also for a `start` or another `stop` that is under way.
        self._ending.set()
        self._woken.set()
        with self._changing:
            self._stop(drain_seconds)

    def _stop(self, drain_seconds: float) -> None:
        self._ending.set()
        self._woken.set()
        for thread in self._threads[:1]:
            thread.join()
        deadline = time.monotonic() + max(0.0, drain_seconds)
        self._join(deadline)
        for run in self._now():
            run.stop.set()
        self._join(time.monotonic() + GIVING_BACK_SECONDS)
        for thread in self._threads[1:]:
            # Not for ever: one of its subscribers may be waiting for just this.
            thread.join(LAST_TELLING_SECONDS)
        is_telling = any(thread.is_alive() for thread in self._threads)
        self._threads = []
        if self._teller is not None and not is_telling:
            self._look(self._teller)

    def close(self) -> None:
        """Let go of the store; the next use opens it again."""
        with self._use:
            store, self._store, self._teller = self._store, None, None
        if store is not None:
            store.close()

    def _hooks(self) -> HookTeller:
        store = self.store
        with self._use:
            if self._teller is None:
                name = re.sub(r"[^\w.-]", "_", f"{self._worker_id}.{self._kind}")
                file = self._config.paths.root / "hooks" / f"{name}.json"
                job_type = JOB_TYPES.get(self._kind, self._kind)
                self._teller = HookTeller(store, file, job_type=job_type)
            return self._teller

    def _keep_looking(self, concurrency: int, ending: threading.Event) -> None:
        failures = 0
        while not ending.is_set():
            self._woken.clear()
            try:
                self._begin_ready(concurrency, ending)
                failures = 0
            except WorkerError as error:
                failures += 1
                if failures == 1:
                    logger.warning("%s: the store does not answer: %s", self._worker_id, error)
            except Exception:
                failures += 1
                logger.exception("%s: looking for jobs failed", self._worker_id)
            self._woken.wait(POLL_SECONDS * 2 ** min(failures, 5))

    def _begin_ready(self, concurrency: int, ending: threading.Event) -> None:
        free = concurrency - self.active
        for most in (concurrency + LOOK_AHEAD, LOOK_FAR_AHEAD):
            if free <= 0:
                return
            ready = self.store.ready([self._kind], limit=most)
            for job in ready:
                if free <= 0 or ending.is_set():
                    return
                if self._is_turn_of(job):
                    self._begin(job)
                    free -= 1
            if len(ready) < most:
                return

    def _is_turn_of(self, job: Job) -> bool:
        if needs_object(job.spec):
            # Only the program that submitted it can work on it: here it would fail.
            return False
        now = time.monotonic()
        with self._use:
            self._tried = {each: at for each, at in self._tried.items() if now - at < AGAIN_SECONDS}
            if job.id in self._runs or job.id in self._tried:
                return False
        return may_start(self._config, self.store, job)

    def _begin(self, job: Job) -> None:
        # Written before the claim: whoever comes after a kill knows whose end was not told.
        self._hooks().keep(job.id)
        stop = threading.Event()
        thread = threading.Thread(target=self._work, args=(job.id, stop), daemon=True)
        thread.name = f"{self._worker_id} {job.id}"
        with self._use:
            self._tried[job.id] = time.monotonic()
            self._runs[job.id] = _Run(thread=thread, stop=stop)
        thread.start()

    def _work(self, job_id: str, stop: threading.Event) -> None:
        try:
            work_on(self._config, job_id, stop, actor=self._worker_id)
        except Exception:
            logger.exception("job %s: what became of it was not recorded", job_id)
        finally:
            with self._use:
                self._runs.pop(job_id, None)
            self._woken.set()

    def _now(self) -> list[_Run]:
        with self._use:
            return list(self._runs.values())

    def _join(self, deadline: float) -> None:
        for run in self._now():
            run.thread.join(max(0.0, deadline - time.monotonic()))

    # -- Telling -----------------------------------------------------------------------------------

    def _keep_telling(self, teller: HookTeller, ending: threading.Event) -> None:
        while not ending.wait(TELL_SECONDS) or self._now():
            self._look(teller)
            if ending.is_set():
                time.sleep(TELL_SECONDS)
        # What has ended since the look before.
        self._look(teller)

    def _look(self, teller: HookTeller) -> None:
        try:
            teller.look()
        except WorkerError as error:
            logger.debug("%s: hooks wait: %s", self._worker_id, error)
        except Exception:
            logger.exception("%s: hooks could not be told", self._worker_id)


def _with_quick_beats(config: WorkersConfig) -> WorkersConfig:
    beat = min(config.jobs.heartbeat_seconds, BEAT_SECONDS)
    jobs = config.jobs.model_copy(update={"heartbeat_seconds": beat})
    return config.model_copy(update={"jobs": jobs})
