from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest

from lexigram_ray.embedding.server_threads import run_at_once

# A shell's background process ignores Ctrl-C, and so would its children.
INTERRUPTED = """
import signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from lexigram_ray.embedding.server_threads import run_at_once

def work(item):
    if item == 0:
        print("under way", flush=True)
    time.sleep(60)

run_at_once(work, range(8), threads=4, stopped=threading.Event())
"""


def test_everything_is_done_with_no_more_threads_than_allowed():
    done, now, most = [], [], []

    def work(item):
        now.append(item)
        most.append(len(now))
        time.sleep(0.005)
        now.remove(item)
        done.append(item)

    run_at_once(work, range(12), threads=3, stopped=threading.Event())

    assert sorted(done) == list(range(12))
    assert max(most) <= 3


def test_the_first_failure_stops_the_others_and_is_the_one_that_is_raised():
    stopped, begun, ended = threading.Event(), [], []

    def work(item):
        begun.append(item)
        if item == 1:
            raise LookupError("first")
        stopped.wait(5)
        ended.append(item)
        raise CancelledError

    with pytest.raises(LookupError, match="first"):
        run_at_once(work, range(50), threads=2, stopped=stopped)

    assert sorted(begun) == [0, 1]
    assert ended == [0]


def test_an_interrupted_process_ends_without_waiting_for_the_server():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=10) != 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
