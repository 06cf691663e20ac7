"""What test_commit_faults runs elsewhere. Usage: commit_child.py COMMAND STATE ..."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs import commit as commit_module
from lexigram_ray.jobs import removal
from lexigram_ray.jobs.store import Store
from tests.integration.commit_data import (
    NAME,
    Place,
    claim_job,
    commit,
    committer,
    ended,
    ingested,
    spilled,
)


def die_committing(state: str, moment: str, kind: str, counts: str, version: str) -> None:
    """Commit documents as the job `dying`, and be killed at the moment named."""
    place = Place(Path(state))
    store = place.open_store()
    collection = place.open_collection(store)
    claim = claim_job(store, "dying")
    wanted: dict[str, int] = json.loads(counts)
    executions = [ingested(wanted, version)]
    if kind == "spilled":
        executions = [
            spilled(document, count, Path(state) / f"{document}.arrow", version)
            for document, count in wanted.items()
        ]
    _die_at(moment)
    commit(store, claim, collection, *executions)


def die_removing(state: str, how: str, document: str) -> None:
    """Remove a document's rows as the job `dying`, and be killed before that is recorded."""
    place = Place(Path(state))
    store = place.open_store()
    collection = place.open_collection(store)
    claim = claim_job(store, "dying")
    _replace(removal, "remove_documents", _dying_after)
    if how == "emptied":
        commit(store, claim, collection, ended(Outcome.SKIPPED, [document]))
    else:
        removal.prune(store, claim, collection, [store.ledger(NAME)[document]], 30.0)


def rewrite(state: str, who: str, ids: str, seconds: str, turns: str) -> None:
    """Write documents again and again, each time by another length; says how often."""
    place = Place(Path(state))
    store = place.open_store()
    collection = place.open_collection(store)
    if turns == "without-turns":
        Store.turn = lambda *_: nullcontext()  # pyright: ignore[reportAttributeAccessIssue]
    writer = committer(store, claim_job(store, who), collection)
    lengths = random.Random(who)
    say("ready")
    sys.stdin.readline()
    end = time.monotonic() + float(seconds)
    times = 0
    while time.monotonic() < end:
        length = lengths.randint(1, 9)
        writer.add(ingested(dict.fromkeys(ids.split(","), length), f"{who}.{times}.{length}"))
        writer.flush()
        times += 1
    say(str(times))


def _die_at(moment: str) -> None:
    if moment == "after the intent":
        _replace(commit_module, "replace_documents", _dying_before)
    elif moment == "after the write":
        _replace(commit_module, "replace_documents", _dying_after)
    elif moment == "after done":
        _replace(Store, "mark_done", _dying_after)
    else:
        raise ValueError(moment)


def _replace(
    holder: Any, name: str, by: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    setattr(holder, name, by(getattr(holder, name)))


def _dying_before(_: Callable[..., Any]) -> Callable[..., Any]:
    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    return die


def _dying_after(do: Callable[..., Any]) -> Callable[..., Any]:
    def do_and_die(*arguments: Any, **options: Any) -> None:
        do(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    return do_and_die


def say(line: str) -> None:
    """Tell the parent."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    commands = {
        "die_committing": die_committing,
        "die_removing": die_removing,
        "rewrite": rewrite,
    }
    commands[sys.argv[1]](*sys.argv[2:])
