"""Killing what a command has started, and waiting for its end."""

from __future__ import annotations

import signal
import subprocess
import time

import psutil

from tests.command_line import Result


def kill_whole_family(process: subprocess.Popen[str]) -> None:
    family = [psutil.Process(process.pid)]
    family += family[0].children(recursive=True)
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.communicate()
    psutil.wait_procs(family, timeout=20)


def kill_workers(process: subprocess.Popen[str], names: tuple[str, ...], *, times: int) -> int:
    killed: set[int] = set()
    deadline = time.monotonic() + 90
    while len(killed) < times and time.monotonic() < deadline and process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                command = " ".join(child.cmdline())
                if child.pid not in killed and any(name in command for name in names):
                    time.sleep(0.5)
                    child.send_signal(signal.SIGKILL)
                    killed.add(child.pid)
                    time.sleep(1.0)
                    break
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.1)
    return len(killed)


def ended(process: subprocess.Popen[str]) -> Result:
    stdout, stderr = process.communicate(timeout=240)
    return Result(code=process.returncode, stdout=stdout, stderr=stderr)
