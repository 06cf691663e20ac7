"""A state directory with its commands, each a process of its own, and what `up` runs for it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_records import DeadLetter, LetterFilter, LetterStatus
from lexigram_ray.jobs.store import Store
from tests.command_line import start_cli
from tests.integration import up_site

SETTLE_SECONDS = 240.0
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

NOBODY_IS_BLAMED = {"LEX_AI_WORKERS__JOBS__CRASH_BUDGET": "1000"}
"""Settings for kills at random: on a slow machine three of them can hit one document by chance."""

ALL = LetterFilter(statuses=tuple(LetterStatus))


class Site(up_site.Site):
    """A state directory.

    Args:
        state: With its model in it.
        settings: Over those of `IN_NO_TIME`.
    """

    def __init__(self, state: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(state, IN_NO_TIME | dict(settings or {}))

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Have it up, and nothing of it afterwards, in whatever way this is left."""
        self.done("up")
        try:
            yield
            self.done("down")
        finally:
            self.close()

    def processes(self) -> list[psutil.Process]:
        """Return the head's processes and what they have started, parsers too."""
        head = self.head()
        found = set[psutil.Process]()
        for process in head.processes() if head else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= {process, *process.children(recursive=True)}
        return sorted(found, key=lambda process: process.pid)

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


def _words(letter: DeadLetter) -> str:
    return f"the dead letter of {letter.source}"
