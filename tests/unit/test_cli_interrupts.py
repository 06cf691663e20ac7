"""Ctrl-C and SIGTERM, with real signals to real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from tests.command_line import HEAR_SIGNALS

OBEDIENT = "stop.wait()"
DEAF = "import time\ntime.sleep(60)"


def start(work: str, *, grace_seconds: float = 30.0, hijack: str = "") -> subprocess.Popen[str]:
    program = f"""
        import signal, sys, threading
        from lexigram_ray.cli.interrupts import Interrupts
        stop = threading.Event()
        said = lambda word: lambda: print(word, flush=True)
        interrupts = Interrupts(
            stop=stop, on_first=said("first"), on_exit=said("exit"), grace_seconds={grace_seconds}
        )
        with interrupts:
            {hijack or "pass"}
            interrupts.rearm()
            print("ready", flush=True)
            {work.replace(chr(10), chr(10) + " " * 12)}
        print("ended", signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
    """
    process = subprocess.Popen(
        [*HEAR_SIGNALS, sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_to_stop_and_the_run_ends_by_itself(number: signal.Signals) -> None:
    process = start(OBEDIENT)
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)

    assert (process.returncode, output, errors) == (0, "first\nended True\n", "")


def test_the_second_signal_ends_a_deaf_run_at_once() -> None:
    process = start(DEAF)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)

    assert (process.returncode, output) == (130, "exit\n")


def test_a_deaf_run_is_ended_when_its_grace_is_over() -> None:
    process = start(DEAF, grace_seconds=0.2)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)

    assert (process.returncode, output) == (130, "first\nexit\n")


def test_an_end_at_once_takes_the_children_along() -> None:
    work = "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid, flush=True)\n" + DEAF
    process = start(work)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    _, alive = psutil.wait_procs([child], timeout=10)

    assert not [left for left in alive if left.status() != psutil.STATUS_ZOMBIE]


def test_a_handler_that_a_library_puts_in_place_is_taken_back() -> None:
    process = start(OBEDIENT, hijack="signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)

    assert (process.returncode, output) == (0, "first\nended True\n")
