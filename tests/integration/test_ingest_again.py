"""A second run does only what has changed, and says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lance
import pytest

from tests import documents
from tests.command_line import Result, clean_environment, run_cli
from tests.tables import assert_nothing_twice, rows_of, sources

pytestmark = pytest.mark.slow

# With this, whatever is parsed fails: what still succeeds was not parsed.
NO_PARSING = {"LEX_AI_WORKERS__PARSER__TIMEOUT_SECONDS": "0.001"}


def _ingest(docs: Path, state: Path, *options: str, env: dict[str, str] | None = None) -> Result:
    return run_cli("ingest", docs, "-c", "docs", "--json", *options, state=state, env=env)


def _report(result: Result) -> dict[str, Any]:
    assert result.stdout, result.stderr
    return result.object


def test_an_unchanged_folder_is_neither_parsed_nor_embedded_and_starts_neither_ray_nor_a_model(
    docs: Path, state: Path
) -> None:
    first = _report(_ingest(docs, state))
    assert first["documents"]["ingested"] == 5
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lexigram_ray", "ingest", docs, "-c", "docs"],
        env=clean_environment(LEXIGRAM_RAY_STATE=str(state), LEXIGRAM_RAY_JSON="1", **NO_PARSING),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in traced.stderr.splitlines()}
    assert imported.isdisjoint({"ray", "torch", "openvino", "transformers", "kreuzberg"})
    second = Result(code=0, stdout=traced.stdout, stderr="").object
    assert second["documents"] == {
        "found": 5, "ingested": 0, "unchanged": 5, "skipped": 0, "failed": 0, "removed": 0,
    }  # fmt: skip
    assert second["embeddings"] == {"computed": 0, "cached": 0}
    assert second["rows"] == first["rows"]


def test_a_changed_file_replaces_its_chunks_in_one_commit(docs: Path, state: Path) -> None:
    long_text = "\n\n".join(f"Paragraph {n}: " + "bread and butter " * 60 for n in range(12))
    (docs / "bread.md").write_text(long_text)
    _ingest(docs, state)
    assert sources(state, "docs")["bread.md"] > 3
    table = str(state / "lancedb" / "docs.lance")
    before = lance.dataset(table).version
    (docs / "bread.md").write_text("# Bread\n\nOnly this is left.\n")
    report = _report(_ingest(docs, state))
    assert report["documents"]["ingested"] == 1
    assert report["documents"]["unchanged"] == 4
    seen = {
        tuple(sorted(row["text"] for row in _rows_at(table, version) if _is_bread(row)))
        for version in range(before, lance.dataset(table).version + 1)
    }
    assert len(seen) == 2, "readers saw something between the old document and the new one"
    assert [row["text"] for row in rows_of(state, "docs") if _is_bread(row)] == [
        "# Bread\n\nOnly this is left."
    ]
    assert report["rows"] == len(rows_of(state, "docs"))
    assert_nothing_twice(state, "docs")


def test_a_deleted_file_stays_until_a_run_prunes(docs: Path, state: Path) -> None:
    _ingest(docs, state)
    (docs / "chess.txt").unlink()
    kept = _report(_ingest(docs, state))
    assert kept["documents"]["removed"] == 0
    assert "chess.txt" in sources(state, "docs")
    pruned = _report(_ingest(docs, state, "--prune"))
    assert pruned["documents"]["removed"] == 1
    assert pruned["chunks"]["removed"] == 1
    assert "chess.txt" not in sources(state, "docs")
    assert pruned["rows"] == 4


def test_pruning_touches_only_what_lies_under_the_paths_of_the_run(
    docs: Path, state: Path, tmp_path: Path
) -> None:
    other = tmp_path / "docs-of-others"
    other.mkdir()
    (other / "wind.txt").write_text("The wind blows from the west.")
    _ingest(docs, state)
    _ingest(other, state)
    shutil.rmtree(other)
    (docs / "bees.html").unlink()
    report = _report(_ingest(docs, state, "--prune"))
    assert report["documents"]["removed"] == 1
    assert "wind.txt" in sources(state, "docs")


def test_a_renamed_file_is_a_new_document_that_embeds_and_parses_nothing(
    docs: Path, state: Path
) -> None:
    _ingest(docs, state)
    (docs / "tides.md").rename(docs / "ebb and flow.md")
    report = _report(_ingest(docs, state, "--prune", env=NO_PARSING))
    assert report["documents"]["ingested"] == 1
    assert report["documents"]["removed"] == 1
    assert report["embeddings"] == {"computed": 0, "cached": 1}
    assert "ebb and flow.md" in sources(state, "docs")


def test_a_failure_is_reported_again_without_another_try_until_it_is_asked_for(
    docs: Path, state: Path
) -> None:
    (docs / "secret.pdf").write_bytes(documents.encrypted_pdf())
    (docs / "cut.docx").write_bytes(documents.truncated_docx())
    first = _ingest(docs, state)
    assert first.code == 3
    problems = {Path(p["source"]).name: p for p in _report(first)["problems"]}
    assert set(problems) == {"secret.pdf", "cut.docx"}
    assert {p["outcome"] for p in problems.values()} == {"failed"}
    assert {p["category"] for p in problems.values()} == {"invalid_input"}
    assert all(p["reason"] for p in problems.values())
    with _no_parser_can_start(state):
        second = _ingest(docs, state)
        assert second.code == 3, second.stderr
        assert _report(second)["problems"] == _report(first)["problems"]
        assert _ingest(docs, state, "--retry-failed").code == 1
    assert _ingest(docs, state, "--retry-failed").code == 3


def test_a_failure_is_tried_again_under_other_limits(docs: Path, state: Path) -> None:
    hurried = _report(_ingest(docs, state, env=NO_PARSING))
    assert {problem["code"] for problem in hurried["problems"]} == {"parser_timeout"}
    patient = _report(_ingest(docs, state))
    assert patient["documents"]["failed"] == 0
    assert patient["documents"]["ingested"] == hurried["documents"]["failed"]


def test_a_failed_file_that_has_been_mended_is_ingested(docs: Path, state: Path) -> None:
    (docs / "cut.docx").write_bytes(documents.truncated_docx())
    assert _ingest(docs, state).code == 3
    (docs / "cut.docx").write_bytes(documents.docx_file())
    mended = _ingest(docs, state)
    assert mended.code == 0
    assert _report(mended)["documents"]["ingested"] == 1


def test_a_changed_file_that_fails_keeps_its_older_rows_and_one_that_is_empty_loses_them(
    docs: Path, state: Path
) -> None:
    (docs / "report.docx").write_bytes(documents.docx_file())
    _ingest(docs, state)
    before = sources(state, "docs")
    (docs / "report.docx").write_bytes(documents.truncated_docx())
    (docs / "tides.md").write_text("")
    result = _ingest(docs, state)
    assert result.code == 3
    after = sources(state, "docs")
    assert after["report.docx"] == before["report.docx"] > 0
    assert after["tides.md"] == 0
    assert _report(result)["rows"] == after.total()


def test_other_settings_are_refused_before_any_work(docs: Path, state: Path) -> None:
    _ingest(docs, state)
    result = _ingest(docs, state, "--chunk-size", "100")
    assert result.code == 2
    assert "tokens:254:0" in result.stderr
    assert "tokens:100:0" in result.stderr
    assert rows_of(state, "docs")


def test_a_collection_deleted_by_hand_is_made_anew(docs: Path, state: Path) -> None:
    _ingest(docs, state)
    shutil.rmtree(state / "lancedb" / "docs.lance")
    report = _report(_ingest(docs, state))
    assert report["documents"]["ingested"] == 5
    assert report["embeddings"]["computed"] == 0
    assert report["rows"] == 5


def test_a_lost_ledger_costs_work_but_neither_rows_nor_doubles(docs: Path, state: Path) -> None:
    long_text = "\n\n".join(f"Paragraph {n}: " + "bread and butter " * 60 for n in range(12))
    (docs / "bread.md").write_text(long_text)
    _ingest(docs, state)
    (state / "jobs.db").unlink()
    (docs / "bread.md").write_text("Short now.")
    report = _report(_ingest(docs, state))
    assert report["status"] == "completed"
    assert report["rows"] == 5
    assert_nothing_twice(state, "docs")


def test_a_dry_run_says_what_a_run_would_do_and_loads_no_model(docs: Path, state: Path) -> None:
    _ingest(docs, state)
    (docs / "tides.md").write_text("# Tides\n\nChanged.\n")
    (docs / "new.md").write_text("# New\n\nText.\n")
    (docs / "chess.txt").unlink()
    result = _ingest(docs, state, "--prune", "--dry-run")
    said = _report(result)["documents"]
    assert said == {
        "found": 5, "new": 1, "changed": 1, "unchanged": 3, "remembered": 0, "removed": 1,
    }  # fmt: skip
    done = _report(_ingest(docs, state, "--prune"))["documents"]
    assert (done["ingested"], done["unchanged"], done["removed"]) == (2, 3, 1)


@contextmanager
def _no_parser_can_start(state: Path) -> Generator[None]:
    parsed = state / "payloads" / "parsed"
    aside = parsed.rename(parsed.with_name("aside"))
    parsed.touch()
    yield
    parsed.unlink()
    aside.rename(parsed)


def _rows_at(table: str, version: int) -> list[dict[str, Any]]:
    return lance.dataset(table, version=version).to_table().to_pylist()


def _is_bread(row: dict[str, Any]) -> bool:
    return row["source"].endswith("bread.md")
