"""The main job from the outside: real documents, real processes, a real model."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lexigram_ray.embedding.devices import cpu_has_bf16
from tests.command_line import ON_RAY, Result, Terminal, run_cli, start_cli
from tests.documents import PAGES, TITLE, pdf
from tests.ready_state import converted_models, state

__all__ = ["converted_models", "state"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ESCAPE = "\x1b"
MANY = 90 if cpu_has_bf16() else 45
NOTES = {
    "crane.md": f"# The crane\n\n{PAGES[1]}\n",
    "fog.txt": f"{PAGES[2]}\n",
    "röstigraben/\x1b[31mred.txt": "A file whose name tries to colour the terminal.\n",
}


@dataclass(frozen=True, kw_only=True)
class Harbour:
    """A folder of four good documents and two bad ones, ingested once."""

    documents: Path
    state: Path
    first: Result


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Harbour:
    root = tmp_path_factory.mktemp("harbour")
    documents, state = root / "documents", root / "state"
    documents.mkdir()
    (documents / "handbook.pdf").write_bytes(pdf())
    for name, text in NOTES.items():
        file = documents / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    (documents / "empty.txt").touch()
    (documents / "truncated.pdf").write_bytes(pdf()[:400])
    first = run_cli("ingest", documents, "-c", "harbour", "--json", state=state)
    return Harbour(documents=documents, state=state, first=first)


@pytest.fixture
def screen() -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.close()


def test_some_failed_documents_are_exit_code_3_and_one_object(harbour: Harbour) -> None:
    answer = harbour.first.object

    assert harbour.first.code == 3, harbour.first.stderr
    assert set(answer) == {
        "job_id",
        "collection",
        "status",
        "documents",
        "chunks",
        "embeddings",
        "rows",
        "duration_seconds",
        "problems",
    }
    assert answer["status"] == "completed"
    assert answer["documents"] == {
        "found": 6,
        "ingested": 4,
        "unchanged": 0,
        "skipped": 1,
        "failed": 1,
        "removed": 0,
    }
    assert answer["chunks"] == {"written": answer["rows"], "removed": 0}


def test_every_problem_says_what_and_why(harbour: Harbour) -> None:
    problems = harbour.first.object["problems"]
    assert isinstance(problems, list)
    by_name = {Path(problem["source"]).name: problem for problem in problems}

    assert by_name["empty.txt"]["outcome"] == "skipped"
    assert by_name["truncated.pdf"]["outcome"] == "failed"
    assert all(problem["code"] and problem["reason"] for problem in problems)


def test_without_a_terminal_stderr_has_neither_colour_nor_bar(harbour: Harbour) -> None:
    assert ESCAPE not in harbour.first.stderr
    assert "\r" not in harbour.first.stderr
    assert harbour.first.stderr


def test_a_second_run_changes_nothing_and_reports_the_same_problems(harbour: Harbour) -> None:
    again = run_cli("ingest", harbour.documents, "-c", "harbour", "--json", state=harbour.state)
    answer = again.object
    documents = answer["documents"]
    assert isinstance(documents, dict)

    assert again.code == 3, again.stderr
    assert (documents["ingested"], documents["unchanged"]) == (0, 4)
    assert (documents["skipped"], documents["failed"]) == (1, 1)
    assert answer["embeddings"] == {"computed": 0, "cached": 0}
    assert answer["problems"] == harbour.first.object["problems"]


def test_only_bad_documents_are_exit_code_1(harbour: Harbour) -> None:
    bad = harbour.documents / "truncated.pdf"
    result = run_cli("ingest", bad, "-c", "bad", "--json", state=harbour.state)

    assert result.code == 1, result.stderr


def test_only_good_documents_are_exit_code_0_and_a_summary(harbour: Harbour) -> None:
    good = harbour.documents / "fog.txt"
    result = run_cli("ingest", good, "-c", "good", state=harbour.state)

    assert result.code == 0, result.stderr
    assert "1 document found: 1 ingested" in result.stdout
    assert ESCAPE not in result.stdout + result.stderr
    assert result.stderr.rstrip().rsplit("\n", 1)[-1].startswith("search with: ")


def test_no_progress_shows_none(harbour: Harbour) -> None:
    result = run_cli(
        "ingest", harbour.documents, "-c", "quiet", "--no-progress", "--json", state=harbour.state
    )

    assert result.code == 3
    assert result.stderr == ""


def test_json_progress_is_json_lines_that_end_with_the_summary(harbour: Harbour) -> None:
    result = run_cli(
        "ingest", harbour.documents, "-c", "lines", "--json-progress", "--json", state=harbour.state
    )
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    kinds = [line["message_type"] for line in lines]
    statuses = [line for line in lines if line["message_type"] == "status"]

    assert result.code == 3
    assert kinds[0] == "status"
    assert kinds[-2:] == ["error", "summary"]
    assert lines[-1]["documents"] == result.object["documents"]
    assert all(0 <= line["percent_done"] <= 1 for line in statuses)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(harbour: Harbour) -> None:
    result = run_cli(
        "ingest", harbour.documents, "-c", "dry", "--dry-run", "--json", state=harbour.state
    )
    answer = result.object
    documents, problems = answer["documents"], answer["problems"]
    assert isinstance(documents, dict)
    assert isinstance(problems, list)

    assert result.code == 0, result.stderr
    assert answer["dry_run"] is True
    assert documents["found"] == 6
    assert documents["new"] + len(problems) == 6
    assert not (harbour.state / "lancedb" / "dry.lance").exists()


def test_search_answers_with_the_contract_s_object(harbour: Harbour) -> None:
    result = run_cli(
        "search", "how heavy a load can be lifted", "-c", "harbour", "--json", state=harbour.state
    )
    answer = result.object
    hits = answer["hits"]
    assert isinstance(hits, list)

    assert (result.code, result.stderr) == (0, "")
    assert set(answer) == {"collection", "query", "mode", "took_ms", "hits"}
    assert answer["mode"] == "hybrid"
    assert "forty tonnes" in hits[0]["text"]
    assert set(hits[0]) == {
        "id",
        "score",
        "text",
        "document_id",
        "source",
        "title",
        "page",
        "chunk_index",
        "char_start",
        "char_end",
        "metadata",
    }
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_every_mode_finds_the_passage(harbour: Harbour, mode: str) -> None:
    result = run_cli(
        "search", "fog signals", "-c", "harbour", "--mode", mode, "--json", state=harbour.state
    )
    hits = result.object["hits"]
    assert isinstance(hits, list)

    assert result.object["mode"] == mode
    assert "Fog signals" in hits[0]["text"]


def test_a_limit_and_a_condition_hold(harbour: Harbour) -> None:
    condition = "source LIKE '%.pdf' AND page IS NOT NULL"
    options = ["--limit", "1", "--where", condition, "--json"]
    result = run_cli("search", "crane", "-c", "harbour", *options, state=harbour.state)
    hits = result.object["hits"]
    assert isinstance(hits, list)

    assert len(hits) == 1
    assert hits[0]["title"] == TITLE


def test_a_condition_that_is_not_sql_is_wrong_use(harbour: Harbour) -> None:
    options = ["--where", "page = ; DROP", "--mode", "text"]
    result = run_cli("search", "crane", "-c", "harbour", *options, state=harbour.state)

    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.rstrip().rsplit("\n", 1)[-1].startswith("try: ")


def test_hits_in_a_pipe_have_title_page_score_and_no_colour(harbour: Harbour) -> None:
    result = run_cli(
        "search", "forty tonnes", "-c", "harbour", "--where", "page > 0", state=harbour.state
    )

    assert result.code == 0
    assert f"1. {TITLE} · page" in result.stdout
    assert str(harbour.documents / "handbook.pdf") in result.stdout
    assert ESCAPE not in result.stdout


def test_a_forced_colour_highlights_the_words_of_the_query(harbour: Harbour) -> None:
    env = {"CLICOLOR_FORCE": "1"}
    result = run_cli("search", "tonnes", "-c", "harbour", state=harbour.state, env=env)

    assert f"{ESCAPE}[1;33mtonnes{ESCAPE}[0m" in result.stdout


def test_collections_are_listed_with_all_their_facts(harbour: Harbour) -> None:
    result = run_cli("collections", "list", "--json", state=harbour.state)
    items = result.object["items"]
    assert isinstance(items, list)
    item = next(item for item in items if item["name"] == "harbour")

    assert result.code == 0
    assert item["rows"] == harbour.first.object["rows"]
    assert item["documents"] == 4
    assert item["dimension"] == 384
    assert set(item) == {
        "name",
        "rows",
        "documents",
        "model",
        "dimension",
        "precision",
        "chunker",
        "bytes",
        "live_bytes",
        "dead_bytes",
        "versions",
        "fragments",
        "indexes",
    }
    shown = run_cli("collections", "show", "harbour", "--json", state=harbour.state)
    assert shown.object == item


def test_a_drop_without_a_terminal_wants_yes(harbour: Harbour) -> None:
    run_cli("ingest", harbour.documents / "fog.txt", "-c", "short", state=harbour.state)
    refused = run_cli("collections", "drop", "short", state=harbour.state, stdin="short\n")
    dropped = run_cli("collections", "drop", "short", "--yes", "--json", state=harbour.state)
    again = run_cli("collections", "drop", "short", "--yes", state=harbour.state)

    assert refused.code == 2
    assert "--yes" in refused.stderr
    assert (dropped.code, dropped.object) == (0, {"dropped": "short", "rows": 1})
    assert again.code == 2


def test_a_dropped_collection_is_ingested_anew(harbour: Harbour) -> None:
    arguments = ["ingest", harbour.documents / "fog.txt", "-c", "anew", "--json"]
    run_cli(*arguments, state=harbour.state)
    run_cli("collections", "drop", "anew", "--yes", state=harbour.state)
    result = run_cli(*arguments, state=harbour.state)

    documents = result.object["documents"]
    assert isinstance(documents, dict)
    assert (documents["ingested"], result.object["rows"]) == (1, 1)


def test_a_drop_in_a_terminal_asks_for_the_name(harbour: Harbour, screen: list[Terminal]) -> None:
    run_cli("ingest", harbour.documents / "fog.txt", "-c", "typed", state=harbour.state)
    for answer in ("wrong", "typed"):
        terminal = Terminal(["collections", "drop", "typed"], state=harbour.state)
        screen.append(terminal)
        terminal.read_until("type the collection's name")
        terminal.type(f"{answer}\n")
        terminal.read_to_end()

    assert "1 row of 1 document" in screen[0].screen
    assert [terminal.process.returncode for terminal in screen] == [2, 0]


def test_a_terminal_sees_a_live_display_and_a_summary(
    harbour: Harbour, screen: list[Terminal]
) -> None:
    terminal = Terminal(["ingest", harbour.documents, "-c", "live"], state=harbour.state)
    screen.append(terminal)
    shown = terminal.read_to_end()

    assert terminal.process.returncode == 3
    assert f"{ESCAPE}[?25l" in shown
    assert shown.rindex(f"{ESCAPE}[?25h") > shown.rindex(f"{ESCAPE}[?25l")
    assert "6 documents found: 4 ingested, 1 skipped, 1 failed" in shown
    assert f"{ESCAPE}[31mred" not in shown


@pytest.fixture
def many_documents(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(MANY):
        text = " ".join(f"Rule {number} of quay {line} is its own." for line in range(120))
        (folder / f"{number:03}.txt").write_text(text)
    return folder


def test_an_interrupted_run_says_how_to_go_on_and_goes_on(
    many_documents: Path, state: Path
) -> None:
    arguments = ["ingest", many_documents, "-c", "many", "--json", "--json-progress"]
    process = start_cli(*arguments, state=state, env=ON_RAY)
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line).get("documents_done", 0) >= 3:
            break
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    took = time.monotonic() - began

    assert process.returncode == 130, errors
    assert took < 8
    messages = [json.loads(line) for line in errors.splitlines()]
    go_on = next(m["message"] for m in messages if m.get("label") == "go on with")
    assert go_on.endswith(f"ingest {many_documents} -c many --json --json-progress")
    stopped = json.loads(output)
    assert 0 < stopped["documents"]["ingested"] < MANY

    resumed = run_cli(*arguments, state=state, env=ON_RAY, timeout=500)
    assert resumed.code == 0, resumed.stderr
    assert resumed.object["job_id"] == stopped["job_id"]
    assert resumed.object["documents"]["found"] == MANY  # type: ignore[index]


def test_a_second_interrupt_ends_at_once_with_130(many_documents: Path, state: Path) -> None:
    process = start_cli(
        "ingest", many_documents, "-c", "many", "--json-progress", state=state, env=ON_RAY
    )
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line).get("phase") == "ingesting":
            break
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    process.communicate(timeout=30)

    assert process.returncode == 130
    assert time.monotonic() - began < 3
    _assert_session_ends(process.pid)


def _assert_session_ends(session: int) -> None:
    deadline = time.monotonic() + 15
    while (left := _processes_of(session)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in left:
        process.kill()
    assert not left, "processes of the run are still alive 15 s after its end"


def _processes_of(session: int) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and os.getsid(process.pid) == session:
                found.append(process)
    return found


def test_doctor_finds_this_machine_ready(harbour: Harbour) -> None:
    result = run_cli("doctor", "--json", state=harbour.state)
    checks = result.object["checks"]
    assert isinstance(checks, list)

    assert result.code == 0, result.stdout
    assert all(set(check) == {"name", "status", "detail", "fix"} for check in checks)
    assert {check["status"] for check in checks} <= {"ok", "warn"}
    names = {"python", "ray", "cpu", "memory", "state", "disk", "sqlite", "store", "model", "ocr"}
    assert names <= {check["name"] for check in checks}
