"""Does a job, and is broken at one of its commits. Usage: commit_kills_child.py STATE WORK MOMENT N

N counts the commits from 0. Lance's own call is what is broken into, so that what stands around it
is the product's, errors and all.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lance.dataset import MergeInsertBuilder

from lexigram_ray.jobs.store import Store
from tests.chaos.faults.children import say
from tests.chaos.faults.commit_work import Work, do
from tests.integration.commit_data import Place

Execute = Callable[..., Any]
WRITING = "writing"
MOMENTS = (
    "before the commit",
    "within the commit",
    "between commit and ledger",
    "after the ledger",
    "answer lost",
    "answer lost as a conflict",
)


def main(state: str, work: str, moment: str, number: str) -> None:
    """Do the work, and meet the fault at the commit of that number."""
    if moment == "after the ledger":
        for name in ("mark_done", "finish_units"):
            setattr(Store, name, _at(int(number), getattr(Store, name), _do_and_die))
    else:
        fault = {
            "before the commit": _die,
            "within the commit": _say_and_do,
            "between commit and ledger": _do_and_die,
            "answer lost": _do_and_fail,
            "answer lost as a conflict": _do_and_refuse,
        }[moment]
        MergeInsertBuilder.execute = _at(int(number), MergeInsertBuilder.execute, fault)
    do(Place(Path(state)), Work.from_json(work))


def _at(number: int, real: Execute, fault: Callable[[Callable[[], Any]], Any]) -> Execute:
    """Let the call of that number meet the fault, and each other one through."""
    calls = 0

    def hooked(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != number + 1:
            return real(*arguments, **options)
        return fault(lambda: real(*arguments, **options))

    return hooked


def _die(_: Callable[[], Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _do_and_die(do_it: Callable[[], Any]) -> None:
    do_it()
    os.kill(os.getpid(), signal.SIGKILL)


def _say_and_do(do_it: Callable[[], Any]) -> Any:
    say(WRITING)
    return do_it()


def _do_and_fail(do_it: Callable[[], Any]) -> None:
    do_it()
    raise OSError("LanceError(IO): error sending request: connection closed before the answer")


def _do_and_refuse(do_it: Callable[[], Any]) -> None:
    do_it()
    raise OSError("Commit conflict for version 1: the answer to the first request was lost")


if __name__ == "__main__":
    main(*sys.argv[1:])
