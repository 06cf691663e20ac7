"""SIGKILL to whatever worker of a command's own cluster chance picks."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Sequence

import psutil

LOOK_SECONDS = 0.1
START_SECONDS = 60.0
TITLE = "ray::"
# Ray's own agents have such titles too; with them the whole node goes, which is another matter.
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
ACTORS = ("ray::ingest", "ray::embed", "ray::Ingestion", "ray::Embedder")


def kill_at_random(
    process: subprocess.Popen[str], *, times: int, every_seconds: tuple[float, float], seed: int
) -> list[str]:
    """Kill random Ray workers of a command, one after the other.

    Args:
        every_seconds: The shortest and the longest time before each.

    Returns:
        What was killed, in order; fewer than `times` where the command ended before.
    """
    chance = random.Random(seed)
    killed: list[str] = []
    _wait_for_actors(process)
    while len(killed) < times and _runs_on(process, chance.uniform(*every_seconds)):
        workers = _ray_workers(process)
        if workers:
            victim, title = chance.choice(workers)
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
                killed.append(title)
    return killed


def _wait_for_actors(process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not any(title.startswith(ACTORS) for _, title in _ray_workers(process)):
        assert _runs_on(process, LOOK_SECONDS), f"ended before Ray: {process.communicate()}"
        assert time.monotonic() < deadline, "no worker has come"


def _runs_on(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait, and return whether the command still runs."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is None


def _ray_workers(process: subprocess.Popen[str]) -> Sequence[tuple[psutil.Process, str]]:
    """Return the worker processes of the command's cluster and their titles, oldest first."""
    found: list[tuple[psutil.Process, str]] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                title = child.cmdline()[0]
                if title.startswith(TITLE) and not title.startswith(AGENTS):
                    found.append((child, title))
    return sorted(found, key=lambda pair: pair[0].pid)
