"""A state directory, its commands and what `up` has started for it, for tests of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lexigram_ray.core.config import load_config
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.cluster_file import noted_cluster
from lexigram_ray.runtime.head import Head, end_head
from tests.command_line import Result, run_cli

SETTINGS = {
    # Not in the runner's own process: a small job is to have workers that can be killed.
    "LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "0",
    "LEX_AI_WORKERS__JOBS__LEASE_SECONDS": "8",
    "LEX_AI_WORKERS__JOBS__HEARTBEAT_SECONDS": "0.5",
}


class Site:
    """A state directory and its commands, each a process of its own."""

    def __init__(self, state: Path, settings: Mapping[str, str] = SETTINGS) -> None:
        self.state = state
        token = state.parent / "token"
        self._environment = {**settings, "RAY_AUTH_TOKEN_PATH": str(token)}

    def run(self, *arguments: str | Path) -> Result:
        return run_cli(*arguments, "--json", state=self.state, env=self._environment)

    def done(self, *arguments: str | Path) -> dict[str, Any]:
        result = self.run(*arguments)
        assert result.code == 0, result.stderr + result.stdout
        return result.object

    def store(self) -> Store:
        return Store.open(f"sqlite:///{self.state / 'jobs.db'}")

    def head(self) -> Head | None:
        noted = noted_cluster(load_config(state_dir=self.state))
        return noted.head if noted else None

    def actor_pids(self) -> dict[str, int]:
        return {actor["name"]: actor["pid"] for actor in self.done("status")["cluster"]["actors"]}

    def wait_for(self, what: str, holds: Callable[[Store], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        with self.store() as store:
            while not holds(store):
                assert time.monotonic() < deadline, f"{what}: {self._told(store)}"
                time.sleep(0.1)

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
        jobs, _ = store.list_jobs()
        head = self.head()
        return f"{jobs} {[store.attempts_of(job.id) for job in jobs]} {head}"

    def close(self) -> None:
        """End the head, if a test has left one."""
        if (head := self.head()) is not None:
            end_head(head)
