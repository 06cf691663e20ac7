"""Jobs in a real store, brought to the state that a test is about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.jobs.requests import spec_key_of
from lexigram_ray.jobs.store import Store

LEASE_SECONDS = 60.0


def ingest_spec(*paths: Path, **request: object) -> dict[str, object]:
    """What an ingestion of these paths records, as `jobs.requests` writes it."""
    named = [str(path) for path in paths]
    asked = {"paths": named, "prune": False, "retry_failed": False, "config": {"chunking": {}}}
    return {
        "paths": sorted(named),
        "collection": "papers",
        "model": "minilm@1",
        "chunker": "tokens:254:0",
        "request": asked | request,
    }


def embed_spec(table: Path | None, *, provider: str | None = None) -> dict[str, object]:
    """What an embedding job of this table records; None is a table that came from no file."""
    recorded = {"path": str(table), "text_column": "text", "id_column": None} if table else None
    return {
        "source": str(table or "texts"),
        "rows": "0" * 32,
        "collection": "papers",
        "model": "minilm@1",
        "dimension": 384,
        "request": {"table": recorded, "provider": provider, "config": {"chunking": {}}},
    }


def submitted(
    store: Store,
    spec: dict[str, object] | None = None,
    *,
    kind: str = "ingest",
    collection: str = "papers",
    priority: int = 0,
) -> Job:
    spec = spec or ingest_spec(Path("/papers"))
    key = spec_key_of(spec)
    return store.submit(
        kind=kind, collection=collection, spec=spec, spec_key=key, priority=priority
    )[0]


def claimed(store: Store, job: Job) -> Claim:
    claim = store.claim(job.id, Owner.current(), LEASE_SECONDS)
    assert isinstance(claim, Claim)
    return claim


def ended(
    store: Store,
    job: Job,
    status: JobStatus = JobStatus.COMPLETED,
    *,
    summary: dict[str, object] | None = None,
    error: str | None = None,
) -> Job:
    store.finish(claimed(store, job), status, error=error, summary=summary or {})
    final = store.get(job.id)
    assert final is not None
    return final


def ingest_summary(
    *, ingested: int = 0, failed: Sequence[Path | str] = (), skipped: Sequence[Path | str] = ()
) -> dict[str, object]:
    """The parts of an ingestion's report that say how its documents ended."""
    problems = [("failed", source) for source in failed]
    problems += [("skipped", source) for source in skipped]
    counts = {"ingested": ingested, "unchanged": 0, "skipped": len(skipped), "failed": len(failed)}
    return {
        "documents": {"found": sum(counts.values()), **counts, "removed": 0},
        "problems": [
            {
                "source": str(source),
                "outcome": outcome,
                "category": "invalid_input",
                "code": "corrupt",
                "reason": "it is truncated",
            }
            for outcome, source in problems
        ],
    }
