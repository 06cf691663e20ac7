"""Executed documents made from small tables, and what tests of commits do with them: no model.

A document of `n` chunks in version `v` has the texts of `tests.collections_data.text_of`, so that
whoever reads the table can tell which version of it is there, and whether it is whole.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import Document, Failure, FailureCategory, FileStamp, Outcome
from lexigram_ray.jobs import commit as commit_module
from lexigram_ray.jobs.commit import Committer
from lexigram_ray.jobs.executor import Executed, Execution, Spilled
from lexigram_ray.jobs.plan import PlanRules
from lexigram_ray.jobs.reconcile import differing_rows
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState, Owner
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.schema import collection_schema
from lexigram_ray.vectors.writing import verify_documents
from tests.collections_data import DIMENSION, SETTINGS, digest_of, documents

NAME = "docs"
MODEL = f"{SETTINGS.model}@{SETTINGS.revision}"
SCANNED_AT_NS = 1_000
REPOSITORY = Path(__file__).parents[2]
CHILD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """A state directory: one store, one collection."""

    root: Path

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self.root / 'jobs.db'}"

    @property
    def collections(self) -> Collections:
        return Collections(self.root / "lancedb")

    def open_store(self) -> Store:
        self.root.mkdir(parents=True, exist_ok=True)
        return Store.open(self.store_url)

    def open_collection(self, store: Store, store_id: str | None = None) -> Collection:
        """Open the collection; it is made by this store, or by the one named."""
        return self.collections.create(NAME, SETTINGS, store_id or store.store_id)


def claim_job(store: Store, key: str, owner: Owner | None = None) -> Claim:
    """Claim the unfinished job of a key; it is made where there is none."""
    job, _ = store.submit(kind="ingest", collection=NAME, spec={"paths": [key]}, spec_key=key)
    claim = store.claim(job.id, owner or Owner.current(), 60)
    assert isinstance(claim, Claim), "another process has the job"
    return claim


def committer(
    store: Store,
    claim: Claim,
    collection: Collection,
    planned: Mapping[str, LedgerEntry] | None = None,
) -> Committer:
    """Return a run's committer; `planned` is the ledger as the run saw it, now unless given."""
    rules = PlanRules(
        job_id=claim.job_id,
        chunker=SETTINGS.chunker,
        model=MODEL,
        parser="parser-1",
        retry_failed=False,
    )
    return Committer(
        store,
        claim,
        collection,
        rules,
        planned=store.ledger(NAME) if planned is None else planned,
        checked_at_ns=SCANNED_AT_NS,
        turn_seconds=30.0,
    )


def commit(
    store: Store,
    claim: Claim,
    collection: Collection,
    *executions: Execution,
    planned: Mapping[str, LedgerEntry] | None = None,
) -> Committer:
    """Commit executions as one run of a job does, and return the committer."""
    made = committer(store, claim, collection, planned)
    for execution in executions:
        made.add(execution)
    made.flush()
    return made


def source_document(document_id: str, version: str) -> Document:
    return Document(
        document_id=document_id,
        path=f"/docs/{document_id}.txt",
        source=f"/docs/{document_id}.txt",
        stamp=FileStamp(size=10, mtime_ns=1, ctime_ns=1, inode=1),
        content_hash=hash_text(f"{version} of {document_id}"),
    )


def executed(document_id: str, chunks: int, version: str = "first") -> Executed:
    return Executed(
        document=source_document(document_id, version),
        outcome=Outcome.INGESTED,
        chunks=chunks,
        digest=digest_of(document_id, chunks, version),
        computed=chunks,
    )


def ingested(counts: Mapping[str, int], version: str = "first") -> Execution:
    """Documents of so many chunks each."""
    units = tuple(executed(document, count, version) for document, count in counts.items())
    return Execution(units=units, rows=documents(counts, version))


def spilled(document_id: str, chunks: int, path: Path, version: str = "first") -> Execution:
    """One document that comes through a file of batches of a hundred rows."""
    table = documents({document_id: chunks}, version)
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, collection_schema(DIMENSION)) as writer,
    ):
        writer.write_table(table, max_chunksize=100)
    large = Spilled(executed=executed(document_id, chunks, version), path=str(path))
    return Execution(units=(), spilled=(large,))


def ended(outcome: Outcome, ids: Sequence[str], version: str = "second") -> Execution:
    """Documents that were skipped or failed."""
    code = "no_text" if outcome is Outcome.SKIPPED else "corrupt"
    failure = Failure(category=FailureCategory.INVALID_INPUT, code=code, reason="no words in it")
    units = tuple(
        Executed(document=source_document(each, version), outcome=outcome, failure=failure)
        for each in ids
    )
    return Execution(units=units)


def found(collection: Collection) -> dict[str, tuple[int, int, str]]:
    """Return rows, distinct ids and digest of each document that the newest version holds."""
    collection.refresh()
    ids = set(collection.dataset.to_table(columns=["document_id"])["document_id"].to_pylist())
    rows = verify_documents(collection, sorted(ids), collection.version)
    return {each: (sums.count, sums.distinct_ids, sums.digest) for each, sums in rows.items()}


def one_copy(counts: Mapping[str, int], version: str = "first") -> dict[str, tuple[int, int, str]]:
    """Return what `found` must say of whole documents."""
    return {
        document: (count, count, digest_of(document, count, version))
        for document, count in counts.items()
        if count
    }


def states(store: Store) -> dict[str, LedgerState]:
    return {each: entry.state for each, entry in store.ledger(NAME).items()}


def done(*ids: str) -> dict[str, LedgerState]:
    return dict.fromkeys(ids, LedgerState.DONE)


def assert_table_equals_ledger(collection: Collection, store: Store) -> None:
    """Check that the newest version holds what the ledger says of each document."""
    collection.refresh()
    assert differing_rows(collection, store.ledger(NAME).values()) == []


def child(command: str, place: Place, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.commit_child", command, str(place.root)]
        + [str(argument) for argument in arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_death(process: subprocess.Popen[str]) -> None:
    """Wait until the child has killed itself; any other end is a fault of the test."""
    process.communicate(timeout=CHILD_SECONDS)
    assert process.returncode == -signal.SIGKILL


def on_call(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    wrapped: Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Any],
    *,
    times: int = 1,
    holder: Any = commit_module,
) -> list[Sequence[Any]]:
    """Let the first calls of a function go through `wrapped`; returns the list of all calls."""
    real = getattr(holder, name)
    calls: list[Sequence[Any]] = []

    def hooked(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) <= times:
            return wrapped(real, arguments, options)
        return real(*arguments, **options)

    monkeypatch.setattr(holder, name, hooked)
    return calls
