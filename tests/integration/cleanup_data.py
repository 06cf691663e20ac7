"""Documents of some age, and what a clean-up has left of them."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.executor import Executed, Execution
from lexigram_ray.jobs.records import LedgerState
from lexigram_ray.jobs.store import Store
from tests.collections_data import documents
from tests.integration.commit_data import Place, claim_job, commit, executed, states

NOW = dt.datetime.now(dt.UTC)


class Killed(BaseException):
    """Stands for a SIGKILL at this very point."""


def days_ago(days: float) -> dt.datetime:
    return NOW - dt.timedelta(days=days)


def seed(place: Place, folder: Path, ages: Mapping[str, float]) -> None:
    """Commit documents of two rows, as if it had been done so many days ago."""
    folder.mkdir(parents=True, exist_ok=True)
    units: list[Executed] = []
    for document_id in ages:
        source = folder / f"{document_id}.txt"
        source.write_text(document_id)
        unit = executed(document_id, 2)
        document = replace(unit.document, path=str(source), source=str(source))
        units.append(replace(unit, document=document))
    execution = Execution(units=tuple(units), rows=documents(dict.fromkeys(ages, 2)))
    with place.open_store() as store:
        claim = claim_job(store, str(folder))
        commit(store, claim, place.open_collection(store), execution)
        store.finish(claim, JobStatus.COMPLETED, summary={})
    with sqlite3.connect(place.root / "jobs.db") as database:
        aged = [(days_ago(days).timestamp() * 1e6, each) for each, days in ages.items()]
        database.executemany("UPDATE documents SET updated_at = ? WHERE document_id = ?", aged)
    database.close()


def removed_of(store: Store) -> set[str]:
    return {each for each, state in states(store).items() if state is LedgerState.REMOVED}
