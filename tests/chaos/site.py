"""A state directory with its commands, each a process of its own, and what `up` runs for it."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_records import DeadLetter, LetterFilter, LetterStatus
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.cluster_file import noted_cluster
from lexigram_ray.runtime.head import Head, end_head
from tests.command_line import Result, run_cli, start_cli

LOOK_SECONDS = 0.1
SETTLE_SECONDS = 240.0
STORE_URL = "LEX_AI_WORKERS__STORE_URL"
IN_NO_TIME = {
    "LEX_AI_WORKERS__JOBS__LEASE_SECONDS": "6",
    "LEX_AI_WORKERS__JOBS__HEARTBEAT_SECONDS": "0.5",
    # Not in the process of the job itself: small jobs are to have workers that can be killed.
    "LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "0",
    "LEX_AI_WORKERS__DLQ_CHECK_INTERVAL": "1",
    "LEX_AI_WORKERS__DEAD_LETTERS__BASE_BACKOFF_SECONDS": "0.5",
    "LEX_AI_WORKERS__DEAD_LETTERS__MAX_BACKOFF_SECONDS": "5",
    "LEX_AI_WORKERS__DEAD_LETTERS__MAX_RETRIES": "100",
}
"""Settings with which nothing waits for minutes."""

ALL = LetterFilter(statuses=tuple(LetterStatus))


class Site:
    """A state directory.

    Args:
        state: With its model in it.
        settings: Over those of `IN_NO_TIME`.
    """

    def __init__(self, state: Path, settings: Mapping[str, str] | None = None) -> None:
        self.state = state
        # Ray writes a token where there is none: not into the home of whoever runs this.
        token = {"RAY_AUTH_TOKEN_PATH": str(state.parent / "token")}
        self.environment = IN_NO_TIME | token | dict(settings or {})

    def run(self, *arguments: str | Path) -> Result:
        """Run a command to its end."""
        return run_cli(*arguments, "--json", state=self.state, env=self.environment)

    def done(self, *arguments: str | Path) -> dict[str, Any]:
        """Run a command that is to succeed, and return what it answers."""
        result = self.run(*arguments)
        said = f"{' '.join(map(str, arguments))}: exit code {result.code}\n{result.stderr}"
        assert result.code == 0, said
        return result.object

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Have it up, and nothing of it afterwards, in whatever way this is left."""
        self.done("up")
        try:
            yield
            self.done("down")
        finally:
            if (head := self.head()) is not None:
                end_head(head)

    def head(self) -> Head | None:
        """Return what `up` has started."""
        noted = noted_cluster(load_config(state_dir=self.state))
        return noted.head if noted else None

    def processes(self) -> list[psutil.Process]:
        """Return the head's processes and what they have started, parsers too."""
        head = self.head()
        found = set[psutil.Process]()
        for process in head.processes() if head else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= {process, *process.children(recursive=True)}
        return sorted(found, key=lambda process: process.pid)

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """Open its store."""
        url = self.environment.get(STORE_URL, f"sqlite:///{self.state / 'jobs.db'}")
        with Store.open(url) as store:
            yield store

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command in the foreground of nothing: a process group of its own."""
        return start_cli(*arguments, "--json", state=self.state, env=self.environment)

    def settled(self, seconds: float = SETTLE_SECONDS) -> Iterator[str]:
        """Wait for the end of all jobs and retries, and yield what should not be then."""
        try:
            self.wait_for("the end of all jobs", _is_settled, seconds)
        except TimeoutError as error:
            yield str(error)
        yield from self.complaints()

    def wait_for(self, what: str, holds: Callable[[Store], bool], seconds: float = 120) -> None:
        """Wait until something holds of the store.

        Raises:
            TimeoutError: It does not in time.
        """
        deadline = time.monotonic() + seconds
        with self.store() as store:
            while not holds(store):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{what}: not after {seconds:.0f} s: {_told(store)}")
                time.sleep(LOOK_SECONDS)

    def complaints(self) -> Iterator[str]:
        """Yield whatever a store after kills has that it should not have."""
        with self.store() as store:
            for job in store.list_jobs(limit=1000)[0]:
                if job.status is not JobStatus.COMPLETED:
                    yield f"job {job.id} is {job.status.value}: {job.error}"
            for letter in store.dead_letters.each(ALL):
                if letter.status is not LetterStatus.ADDRESSED:
                    yield f"{_words(letter)} is {letter.status.value}"
                elif blamed := [each for each in letter.attempts if each.code != "parser_killed"]:
                    yield f"{_words(letter)} was blamed: {blamed[0].code}: {blamed[0].error}"


def _is_settled(store: Store) -> bool:
    """Whether no job waits or runs, and no dead letter waits for one."""
    counts = store.counts()
    letters = store.dead_letters.counts()
    waiting = [counts.get(each, 0) for each in (JobStatus.PENDING, JobStatus.RUNNING)]
    waiting += [letters.get(each, 0) for each in (LetterStatus.OPEN, LetterStatus.RETRYING)]
    return not any(waiting)


def _told(store: Store) -> str:
    jobs = [f"{job.id} {job.status.value} {job.progress}" for job in store.list_jobs()[0]]
    return f"{jobs}, letters {dict(store.dead_letters.counts())}"


def _words(letter: DeadLetter) -> str:
    return f"the dead letter of {letter.source}"
