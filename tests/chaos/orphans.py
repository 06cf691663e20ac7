"""Processes that this one has started, however far down and however abandoned.

Linux gives the orphans among a process's descendants to the nearest `subreaper` above them, so
that whatever outlives its parent is still found, and ended, here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Sequence

import psutil

PATIENCE_SECONDS = 15.0
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
AGENTS_SECONDS = 90.0
"""Ray's agents, whose node and head were both killed, end by themselves after a minute: they wait
for the head to come back. Nothing else is borne for so long."""
_SET_CHILD_SUBREAPER = 36
# It lives as long as the interpreter, once anything has used multiprocessing.
_OF_PYTHON = "multiprocessing.resource_tracker"


def adopt_orphans() -> None:
    """Have every orphan among the descendants become a child of this process."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def left_behind() -> list[str]:
    """Wait a little for everything to end, and return what has not.

    To be called while no `Popen` waits for its process: the dead are reaped here.
    """
    started = time.monotonic()
    while (left := _living()) and time.monotonic() - started < _patience(left):
        _reap()
        time.sleep(0.1)
    _reap()
    return sorted(_named(process) for process in left)


def wait_until_dead(processes: Sequence[psutil.Process]) -> list[str]:
    """Wait a little for the end of some processes, and return those that live on."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := [each for each in processes if _is_alive(each)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.1)
    return [_named(process) for process in left]


def end_all() -> None:
    """Kill all descendants."""
    for process in _living():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(_living(), timeout=10)
    _reap()


def _patience(left: Sequence[psutil.Process]) -> float:
    of_ray = all(any(agent in _named(each) for agent in AGENTS) for each in left)
    return AGENTS_SECONDS if of_ray else PATIENCE_SECONDS


def _living() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [process for process in found if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return not is_dead and _OF_PYTHON not in " ".join(process.cmdline())
    return False


def _named(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return f"{process.pid} {' '.join(process.cmdline())[:80]}"
    return str(process.pid)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
