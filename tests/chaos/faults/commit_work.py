"""A job of several commits, of documents or of texts, that goes on where an earlier process died.

It does what a run does: it leaves out what is done, commits the rest, and ends the job. Nothing of
it takes a model, so that a trial costs no more than a process's start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa

from lexigram_ray.core.types import Failure, FailureCategory, JobStatus
from lexigram_ray.jobs.commit import Committer
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.plan import PlanRules
from lexigram_ray.jobs.records import Busy, Claim, LedgerEntry, LedgerState
from lexigram_ray.jobs.staged import StagedUnit
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.text_commit import TextCommitter
from lexigram_ray.jobs.text_executor import RowsExecution
from lexigram_ray.vectors.collection import Collection
from tests.collections_data import SETTINGS, row, table_of, text_of
from tests.integration.commit_data import (
    MODEL,
    NAME,
    SCANNED_AT_NS,
    Place,
    ingested,
    source_document,
    spilled,
)

PATIENCE_SECONDS = 10.0
TABLE = "/tables/texts.parquet"


class Shape(StrEnum):
    """How a job's rows come: in segments of documents, one large document each, ranges of texts."""

    SMALL = "small"
    SPILLED = "spilled"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one job is to write.

    Attributes:
        counts: Chunks of each document; 1 for each text.
        version: Of all of them; their texts name it.
        commits: So many at least.
        lease_seconds: Of the claim, and of the turns.
    """

    job: str
    shape: Shape
    counts: Mapping[str, int]
    version: str
    commits: int
    lease_seconds: float = 60.0

    @property
    def kind(self) -> str:
        return "embed" if self.shape is Shape.TEXTS else "ingest"

    def parts(self) -> Iterator[dict[str, int]]:
        """Return what is committed together."""
        items = list(self.counts.items())
        size = -(-len(items) // self.commits)
        for start in range(0, len(items), size):
            yield dict(items[start : start + size])

    def written(self) -> dict[str, int]:
        """Return those of `counts` that are in the table afterwards, all but the refused texts."""
        parts = (list(part.items()) for part in self.parts())
        left_out = 1 if self.shape is Shape.TEXTS else 0
        return {each: n for part in parts for each, n in part[: len(part) - left_out]}

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Work:
        raw: dict[str, Any] = json.loads(text)
        return cls(**raw | {"shape": Shape(raw["shape"])})


def do(place: Place, work: Work) -> None:
    """Take the job, whoever had it, and bring it to its end."""
    with place.open_store() as store:
        collection = place.open_collection(store)
        claim = _claim(store, work)
        if work.shape is Shape.TEXTS:
            _write_texts(store, claim, collection, work)
        else:
            _write_documents(store, claim, collection, work, place)
        store.finish(claim, JobStatus.COMPLETED, summary={})


def _claim(store: Store, work: Work) -> Claim:
    job, _ = store.submit(
        kind=work.kind, collection=NAME, spec={"paths": [work.job]}, spec_key=work.job
    )
    deadline = time.monotonic() + work.lease_seconds + PATIENCE_SECONDS
    while isinstance(claim := store.claim(job.id, Owner.current(), work.lease_seconds), Busy):
        # A dead owner's job is free at once; that of one that was stopped, once its lease is over.
        if time.monotonic() > deadline:
            raise RuntimeError(f"job {work.job} is still held by {claim.owner}")
        time.sleep(0.05)
    return claim


def _write_documents(
    store: Store, claim: Claim, collection: Collection, work: Work, place: Place
) -> None:
    known = store.ledger(NAME)
    made = Committer(
        store,
        claim,
        collection,
        PlanRules(
            job_id=claim.job_id,
            chunker=SETTINGS.chunker,
            model=MODEL,
            parser="parser-1",
            retry_failed=False,
        ),
        planned=known,
        checked_at_ns=SCANNED_AT_NS,
        turn_seconds=work.lease_seconds,
    )
    for part in work.parts():
        left = {each: n for each, n in part.items() if not _is_done(each, work, known.get(each))}
        if work.shape is Shape.SPILLED:
            for document, count in left.items():
                # A file of this run's own: one that was stopped may still read its.
                file = place.root / f"{claim.job_id}-{claim.fence}-{document}.arrow"
                made.add(spilled(document, count, file, work.version))
        elif left:
            made.add(ingested(left, work.version))
            made.flush()


def _is_done(document: str, work: Work, entry: LedgerEntry | None) -> bool:
    wanted = source_document(document, work.version).content_hash
    return entry is not None and entry.state is LedgerState.DONE and entry.content_hash == wanted


def _write_texts(store: Store, claim: Claim, collection: Collection, work: Work) -> None:
    parts = list(enumerate(work.parts()))
    units = [
        StagedUnit(index=index, first_batch=index, batches=1, rows=len(part), characters=len(part))
        for index, part in parts
    ]
    store.add_units(claim, [(unit.unit_id, TABLE) for unit in units])
    done = store.done_units(claim.job_id)
    made = TextCommitter(store, claim, collection, source=TABLE, turn_seconds=work.lease_seconds)
    for unit, (_, part) in zip(units, parts, strict=True):
        if unit.unit_id not in done:
            made.add(unit, _texts_executed(part, work.version))
            made.flush()


def _texts_executed(part: Mapping[str, int], version: str) -> RowsExecution:
    """Return rows for all of a part's texts but the last, which no model would take."""
    *good, refused = part
    rows: pa.Table = table_of(
        [row(each, 0, id=each, text=text_of(each, 0, version)) for each in good]
    )
    failure = Failure(
        category=FailureCategory.INVALID_INPUT, code="text_refused", reason="no words in it"
    )
    return RowsExecution(rows=rows, failures={refused: failure}, computed=len(good))
