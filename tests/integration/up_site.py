"""A state directory, its commands and what `up` has started for it, for tests and for proofs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from lexigram_ray.core.config import load_config
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.cluster_file import noted_cluster
from lexigram_ray.runtime.head import Head, end_head
from tests.command_line import NICENESS, Result, run_cli

SETTINGS = {
    # Not in the runner's own process: a small job is to have workers that can be killed.
    "LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "0",
    "LEX_AI_WORKERS__JOBS__LEASE_SECONDS": "8",
    "LEX_AI_WORKERS__JOBS__HEARTBEAT_SECONDS": "0.5",
}

STORE_URL = "LEX_AI_WORKERS__STORE_URL"
LOOK_SECONDS = 0.1
WAIT_SECONDS = 300.0
"""For what takes a few seconds, and on a slow machine beside other tests a few minutes."""


class Site:
    """A state directory and its commands, each a process of its own."""

    def __init__(self, state: Path, settings: Mapping[str, str] = SETTINGS) -> None:
        self.state = state
        # Ray writes a token where there is none: not into the home of whoever runs this.
        self.environment = {
            **settings,
            "RAY_AUTH_TOKEN_PATH": str(state.parent / "token"),
            # Ray's own: a job is not to be done before a `status` has told whom to kill.
            NICENESS: "15",
        }

    def run(self, *arguments: str | Path) -> Result:
        """Run a command to its end."""
        return run_cli(*arguments, "--json", state=self.state, env=self.environment)

    def done(self, *arguments: str | Path) -> dict[str, Any]:
        """Run a command that is to succeed, and return what it answers."""
        result = self.run(*arguments)
        said = f"{' '.join(map(str, arguments))}: exit code {result.code}"
        assert result.code == 0, f"{said}\n{result.stderr}{result.stdout}"
        return result.object

    def store(self) -> Store:
        """Open its store."""
        url = self.environment.get(STORE_URL, f"sqlite:///{self.state / 'jobs.db'}")
        return Store.open(url)

    def head(self) -> Head | None:
        """Return what `up` has started."""
        noted = noted_cluster(load_config(state_dir=self.state))
        return noted.head if noted else None

    def actor_pids(self) -> dict[str, int]:
        return {actor["name"]: actor["pid"] for actor in self.done("status")["cluster"]["actors"]}

    def wait_for(
        self, what: str, holds: Callable[[Store], bool], seconds: float = WAIT_SECONDS
    ) -> None:
        """Wait until something holds of the store.

        Raises:
            TimeoutError: It does not in time.
        """
        deadline = time.monotonic() + seconds
        with self.store() as store:
            while not holds(store):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{what}: not after {seconds:.0f} s: {self._told(store)}")
                time.sleep(LOOK_SECONDS)

    def wait_for_progress(self, job_id: str, done: int) -> None:
        def holds(store: Store) -> bool:
            job = store.get(job_id)
            assert job is not None
            assert not job.status.is_final, job
            return job.progress.get("done", 0) >= done  # pyright: ignore[reportOperatorIssue]

        self.wait_for(f"progress of {job_id}", holds)

    def wait_for_status(self, job_id: str, status: str) -> None:
        def holds(store: Store) -> bool:
            job = store.get(job_id)
            assert job is not None
            assert job.status == status or not job.status.is_final, job
            return job.status == status

        self.wait_for(f"{job_id} {status}", holds)

    def _told(self, store: Store) -> str:
        jobs = [
            f"{job.id} {job.status.value} {job.progress} {job.error or ''}: "
            + ", ".join(f"{each.actor} {each.outcome}" for each in store.attempts_of(job.id))
            for job in store.list_jobs()[0]
        ]
        return f"{jobs}, letters {dict(store.dead_letters.counts())}, {self.head()}"

    def close(self) -> None:
        """End the head, if a test has left one."""
        if (head := self.head()) is not None:
            # Not in good order, which takes half a minute where actors are left.
            for process in head.processes():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            end_head(head)
