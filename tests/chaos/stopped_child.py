"""A writer that stops itself in the middle. Usage: stopped_child.py STATE MOMENT

It is the job `paused`, whose lease is short. Once it was continued and has ended, it says how: a
JSON line with the code of its error and how many commits Lance has refused.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from lexigram_ray.core.errors import WorkerError, WriteConflictError
from lexigram_ray.jobs import commit as commit_module
from lexigram_ray.jobs import removal
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.store import Store
from tests.integration.commit_data import NAME, Place, commit, spilled

LEASE_SECONDS = 1.0
JOB = "paused"
DOCUMENT = "a"
LATE_ROWS = 250
"""More than two batches of the file that `spilled` writes."""


def main(state: str, moment: str) -> None:
    """Write or remove the document, and stop at the moment named."""
    place = Place(Path(state))
    store = place.open_store()
    collection = place.open_collection(store)
    job, _ = store.submit(kind="ingest", collection=NAME, spec={"paths": [JOB]}, spec_key=JOB)
    claim = store.claim(job.id, Owner.current(), LEASE_SECONDS)
    assert isinstance(claim, Claim)
    refused: list[str] = []
    _shorten_turns()
    for module, name in ((commit_module, "replace_documents"), (removal, "remove_documents")):
        setattr(module, name, _noting(getattr(module, name), refused))
    seen = store.ledger(NAME)[DOCUMENT]
    _stop_at(moment)
    code = "none"
    try:
        if moment == "before the removal":
            removal.prune(store, claim, collection, [seen], LEASE_SECONDS)
        else:
            commit(store, claim, collection, spilled(DOCUMENT, LATE_ROWS, place.root / "a", "late"))
    except WorkerError as error:
        code = error.code
    print(json.dumps({"code": code, "refused_by_lance": len(refused)}), flush=True)


def _stop_at(moment: str) -> None:
    if moment == "in the middle of the merge":
        commit_module._readable = _stopping_reader(commit_module._readable)
    elif moment == "after the write":
        commit_module.replace_documents = _then_stop(commit_module.replace_documents)
    elif moment == "before the removal":
        removal.remove_documents = _stop_first(removal.remove_documents)
    else:
        raise ValueError(moment)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _stopping_reader(real: Callable[..., Any]) -> Callable[..., Any]:
    """Let Lance begin to read the rows, and stop before it has them all."""
    stops = iter([_stop])

    def rows(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(reader):
            if number == 1:
                next(stops, lambda: None)()
            yield batch

    def hooked(*arguments: Any) -> pa.RecordBatchReader:
        reader = real(*arguments)
        return pa.RecordBatchReader.from_batches(reader.schema, rows(reader))

    return hooked


def _then_stop(real: Callable[..., Any]) -> Callable[..., Any]:
    def hooked(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        _stop()
        return result

    return hooked


def _stop_first(real: Callable[..., Any]) -> Callable[..., Any]:
    def hooked(*arguments: Any, **options: Any) -> Any:
        _stop()
        return real(*arguments, **options)

    return hooked


def _noting(real: Callable[..., Any], refused: list[str]) -> Callable[..., Any]:
    def hooked(*arguments: Any, **options: Any) -> Any:
        try:
            return real(*arguments, **options)
        except WriteConflictError as error:
            refused.append(error.message)
            raise

    return hooked


def _shorten_turns() -> None:
    """Let the turn of a writer that was stopped pass as soon as its claim does."""
    real = Store.turn
    Store.turn = lambda self, collection, owner, _: real(self, collection, owner, LEASE_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
