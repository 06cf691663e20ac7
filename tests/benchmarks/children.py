"""Each measurement in a process of its own: nothing that one has loaded or cached helps another."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.process_memory import MemoryWatch, PeakMemory
from tests.command_line import REPOSITORY, clean_environment

LINGER_SECONDS = 10.0
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
}


class ChildFailed(Exception):
    """A measurement's process ended without its answer; the message says why in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRun:
    """How a measurement's process ended.

    Attributes:
        answer: The JSON object on the last line of its stdout.
        seconds: From the start of the process to its end.
        left_over: Processes of its tree that had not ended some seconds after it.
    """

    answer: dict[str, Any]
    stderr: str
    seconds: float
    memory: PeakMemory
    left_over: int


def run_child(
    command: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    accept: Sequence[int] = (0,),
) -> ChildRun:
    """Run a command to its end, watch its memory, and read its answer.

    Raises:
        ChildFailed: It did not end in time or well, or gave no answer.
    """
    # Files, not pipes: nobody reads while the child is timed.
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        started = time.monotonic()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=REPOSITORY,
            env=clean_environment(**OFFLINE, **(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
        with MemoryWatch(process.pid) as watch:
            code = _wait(process, watch, timeout)
        seconds = time.monotonic() - started
        left_over = _end(watch)
        printed, said = _text(stdout), _text(stderr)
    if code not in accept:
        raise ChildFailed(_reason(said) or f"exit code {code}")
    try:
        answer = json.loads(_last_line(printed))
    except json.JSONDecodeError:
        raise ChildFailed(f"no answer on stdout: {_last_line(printed) or 'nothing'}") from None
    return ChildRun(
        answer=answer, stderr=said, seconds=seconds, memory=watch.peak, left_over=left_over
    )


def _wait(process: subprocess.Popen[bytes], watch: MemoryWatch, timeout: float) -> int:
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        _kill(watch.still_alive())
        raise ChildFailed(f"took longer than {timeout:.0f} s") from None
    except BaseException:
        _kill(watch.still_alive())
        raise


def _end(watch: MemoryWatch) -> int:
    """Wait for the descendants, end those that stay, and return how many stayed."""
    _, staying = psutil.wait_procs(watch.still_alive(), timeout=LINGER_SECONDS)
    _kill(staying)
    return len(staying)


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _reason(stderr: str) -> str:
    """Return the last line of stderr, and of our own JSON Lines the sentence in it."""
    line = _last_line(stderr)
    try:
        record = json.loads(line)
        return record["error"]["message"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return line


def _text(file: Any) -> str:
    file.seek(0)
    return file.read()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
