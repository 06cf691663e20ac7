"""One file that its caller has named: what its job records, and when its rows are made anew."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.core.config import ChunkingSettings, load_config
from lexigram_ray.core.errors import ConfigError, DocumentSkipped, UsageError
from lexigram_ray.core.types import (
    Chunk,
    ChunkerSpec,
    Failure,
    FailureCategory,
    JobStatus,
    ModelSpec,
    Outcome,
    ParsedDocument,
)
from lexigram_ray.ingestion.sources import Scan
from lexigram_ray.jobs.document_verdict import with_verdict
from lexigram_ray.jobs.given_document import (
    GivenText,
    chunking_of,
    document_request,
    given_document,
    made_by,
)
from lexigram_ray.jobs.plan import PlanRules, make_plan
from lexigram_ray.jobs.recipes import GivenModel, Recipe
from lexigram_ray.jobs.records import DOCUMENT_FAILED, Job, LedgerEntry, LedgerState
from lexigram_ray.jobs.report import DocumentCounts, IngestReport, IngestRequest, Problem
from lexigram_ray.jobs.requests import INGEST, ingest_request_of, ingest_spec, spec_key_of
from tests.fakes import HashingProvider

PROVIDER = HashingProvider()
RECIPE = Recipe(
    GivenModel(spec=PROVIDER.spec, provider=PROVIDER),
    ChunkerSpec(strategy="tokens", size=254, overlap=0),
)
PARSED = ParsedDocument(content_hash="0" * 32, text="a b", markdown=False, mime="x", title="t")


@pytest.mark.parametrize(
    ("config", "strategy", "size", "overlap"),
    [
        ({"chunk_size": 300}, "characters", 300, None),
        ({"size": 300, "chunk_overlap": 0}, "characters", 300, 0),
        ({"chunk_size": 64, "overlap": 8, "strategy": "tokens"}, "tokens", 64, 8),
        ({"strategy": "fixed"}, "characters", None, None),
        ({"chunk_size": 300, "overlap": None}, "characters", 300, None),
    ],
)
def test_a_chunking_config_is_read(
    config: dict[str, Any], strategy: str, size: int | None, overlap: int | None
) -> None:
    expected = ChunkingSettings.model_validate(
        {"strategy": strategy, "size": size, "overlap": overlap}
    )
    assert chunking_of(config) == expected


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"lines": 3}, "unknown key 'lines'"),
        ({"strategy": "semantic"}, "no chunking strategy"),
        ({"chunk_size": 0}, "chunking size"),
        ({"chunk_size": "300"}, "chunking size"),
        ({"chunk_size": 100, "overlap": 100}, "leaves nothing new"),
        ({"chunk_size": 100, "size": 200}, "they differ"),
    ],
)
def test_a_wrong_chunking_config_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        chunking_of(config)


def test_no_chunking_config_means_the_configurations_own() -> None:
    assert chunking_of(None) is chunking_of({}) is None


@pytest.mark.parametrize("document_id", ["", "a\0b", "x" * 513, "\ud800"])
def test_an_id_that_cannot_be_kept_is_refused(document_id: str) -> None:
    with pytest.raises(UsageError):
        given_document(document_id)


def test_metadata_is_kept_as_json_and_equal_for_equal_values() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    one = given_document("d", metadata={"b": [1], "a": "ä", "when": when})
    two = given_document("d", metadata={"when": when, "a": "ä", "b": [1]})
    assert one == two
    assert json.loads(one.metadata) == {"a": "ä", "b": [1], "when": str(when)}
    with pytest.raises(UsageError, match="cannot be kept as JSON"):
        given_document("d", metadata={"x": float("inf")})


def test_a_jobs_spec_has_what_its_document_is_and_one_of_folders_is_as_before(
    tmp_path: Path,
) -> None:
    config = load_config(state_dir=tmp_path / "state")
    file = tmp_path / "a.txt"
    plain = IngestRequest(paths=(file,), collection="docs")
    assert set(ingest_spec(config, plain, RECIPE)) == {
        "paths",
        "collection",
        "model",
        "chunker",
        "request",
    }
    assert set(ingest_spec(config, plain, RECIPE)["request"]) == {  # pyright: ignore[reportArgumentType]
        "paths",
        "prune",
        "retry_failed",
        "config",
    }
    named = document_request("d", file, "docs", metadata={"k": 1}, batch_size=7)
    keys = {
        spec_key_of(ingest_spec(config, each, RECIPE))
        for each in (
            plain,
            named,
            document_request("e", file, "docs", metadata={"k": 1}),
            document_request("d", file, "docs", metadata={"k": 2}),
        )
    }
    assert len(keys) == 4
    # How many chunks are embedded at once changes nothing of the rows.
    others = document_request("d", file, "docs", metadata={"k": 1}, batch_size=8)
    assert spec_key_of(ingest_spec(config, others, RECIPE)) in keys

    recorded = document_request(
        "d", file, "docs", metadata={"k": 1}, chunking_config={"chunk_size": 300}
    )
    spec = json.loads(json.dumps(ingest_spec(config, recorded, RECIPE)))
    job = Job(
        id="j",
        kind=INGEST,
        status=JobStatus.PENDING,
        priority=0,
        collection="docs",
        spec=spec,
        spec_key="",
        fence=0,
        attempt=0,
        retry_of=None,
        created_at=datetime.now(UTC),
        started_at=None,
        finished_at=None,
        error=None,
        error_code=None,
    )
    assert ingest_request_of(job) == recorded


def test_rows_are_made_anew_for_other_metadata_another_text_or_another_file(
    tmp_path: Path,
) -> None:
    file, copy = tmp_path / "a.txt", tmp_path / "b.txt"
    for path in (file, copy):
        path.write_text("the same words")

    def todo(request: IngestRequest, entry: LedgerEntry | None) -> list[str]:
        named = request.document
        assert named is not None
        rules = PlanRules(
            job_id="now",
            chunker=made_by(request, RECIPE),
            model="m",
            parser="p",
            retry_failed=False,
            metadata=named.metadata,
        )
        scan = Scan(request.paths, allowed_roots=None, document_id="d")
        plan = make_plan(scan, {} if entry is None else {"d": entry}, rules, 0)
        assert plan.seen == {"d"}
        return [document.metadata for document in plan.todo]

    asked = document_request("d", file, "docs", metadata={"k": 1})
    assert todo(asked, None) == ['{"k": 1}']
    from lexigram_ray.core.ids import hash_file

    done = LedgerEntry(
        collection="docs",
        document_id="d",
        source=str(file),
        state=LedgerState.DONE,
        content_hash=hash_file(file),
        chunker=made_by(asked, RECIPE),
        model="m",
        job_id="earlier",
    )
    assert todo(asked, done) == []
    assert todo(document_request("d", file, "docs", metadata={"k": 2}), done)
    assert todo(document_request("d", copy, "docs", metadata={"k": 1}), done)
    text = GivenText(parser="P", parsed=PARSED)
    own = document_request("d", file, "docs", metadata={"k": 1})
    own = replace(own, document=given_document("d", metadata={"k": 1}, text=text))
    assert todo(own, done)


def test_a_text_is_another_one_with_other_words_or_passages() -> None:
    chunk = Chunk(
        index=0, text="a", char_start=0, char_end=1, page=None, headings=(), content_hash="1"
    )
    texts = [
        GivenText(parser="P", parsed=PARSED),
        GivenText(parser="Q", parsed=PARSED),
        GivenText(parser="P", parsed=replace(PARSED, text="b")),
        GivenText(parser="P", parsed=replace(PARSED, metadata={"k": 1})),
        GivenText(parser="P", parsed=PARSED, passages=(chunk,)),
        GivenText(parser="P", parsed=PARSED, passages=(replace(chunk, metadata='{"k": 1}'),)),
        GivenText(parser="P", error=ValueError()),
    ]
    assert len({text.key for text in texts}) == len(texts)


def test_a_folder_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is one file"):
        Scan((tmp_path,), allowed_roots=None, document_id="d")


REPORT = IngestReport(
    job_id="j",
    collection="docs",
    status=JobStatus.COMPLETED,
    documents=DocumentCounts(found=1),
    chunks_written=0,
    chunks_removed=0,
    embeddings_computed=0,
    embeddings_cached=0,
    rows=0,
    duration_seconds=0.0,
)


@pytest.mark.parametrize(
    ("outcome", "code", "status", "error_code"),
    [
        (Outcome.FAILED, "corrupt", JobStatus.FAILED, DOCUMENT_FAILED),
        (Outcome.SKIPPED, "unsupported", JobStatus.FAILED, "unsupported"),
        (Outcome.SKIPPED, "no_text", JobStatus.COMPLETED, None),
        (Outcome.SKIPPED, "empty", JobStatus.COMPLETED, None),
    ],
)
def test_a_job_of_one_document_ends_as_the_document_did(
    outcome: Outcome, code: str, status: JobStatus, error_code: str | None
) -> None:
    failure = Failure(category=FailureCategory.INVALID_INPUT, code=code, reason="it is so")
    report = with_verdict(replace(REPORT, problems=(Problem.of("a.pdf", outcome, failure),)))
    assert report.status is status
    if error_code is not None:
        assert (report.error, report.error_code) == ("it is so", error_code)


def test_a_request_with_objects_says_so() -> None:
    text = GivenText(parser="P", error=DocumentSkipped("empty", code="empty"))
    request = IngestRequest(
        paths=(Path("/a"),),
        collection="docs",
        document=given_document("d", text=text),
        provider=PROVIDER,
    )
    assert isinstance(PROVIDER.spec, ModelSpec)
    assert request.only_here == {"provider": PROVIDER.spec.name, "parser": "P"}
    assert document_request("d", "/a", "docs").only_here == {}
