"""`lexigram-ray embed` from the outside: real tables, real processes, a real model, no Ray."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command_line import Result, Terminal, run_cli, start_cli
from tests.ready_state import converted_models, with_model
from tests.tables import rows_of

__all__ = ["converted_models"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ESCAPE = "\x1b"
IN_PROCESS = {"LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "100000"}
QUESTIONS = [
    "How is a lease renewed?",
    "Which crane lifts forty tonnes?",
    "When are fog signals given?",
    "Who signs for dangerous goods?",
    "Where do pilots embark?",
    "How deep is the inner basin?",
    "What does a berth cost in winter?",
    "Which flag is hoisted in quarantine?",
    "How are mooring lines inspected?",
    "Who may open the lock gates at night?",
]
KEYS = {"job_id", "collection", "status", "texts", "rows", "duration_seconds", "problems"}


@dataclass(frozen=True, kw_only=True)
class Office:
    """A table of ten good rows and four bad ones, embedded once."""

    table: Path
    state: Path
    first: Result


def line(**fields: object) -> str:
    return json.dumps(fields) + "\n"


def good_rows() -> str:
    return "".join(
        line(id=f"q{number}", text=text, topic="port") for number, text in enumerate(QUESTIONS)
    )


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, converted_models: Path) -> Office:
    root = tmp_path_factory.mktemp("office")
    table, state = root / "faq.jsonl", with_model(root / "state", converted_models)
    bad = line(id="e", text="  ") + line(id="q3", text="A second q3.") + '{"id": "b", "text": \n'
    table.write_text(good_rows() + bad + line(id=None, text="Without an id."))
    first = run_cli("embed", table, "-c", "faq", "--json", state=state)
    return Office(table=table, state=state, first=first)


@pytest.fixture
def screen() -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.close()


def test_bad_rows_are_exit_code_3_and_the_others_are_embedded(office: Office) -> None:
    answer = office.first.object

    assert office.first.code == 3, office.first.stderr
    assert set(answer) == KEYS
    assert answer["status"] == "completed"
    assert answer["texts"] == {"read": 14, "embedded": 10, "cached": 0, "failed": 4}
    assert answer["rows"] == 10


def test_a_row_keeps_its_id_and_its_other_columns(office: Office) -> None:
    rows = {row["id"]: row for row in rows_of(office.state, "faq")}

    assert set(rows) == {f"q{number}" for number in range(10)}
    assert rows["q3"]["text"] == QUESTIONS[3]
    assert rows["q3"]["document_id"] == "q3"
    assert json.loads(rows["q3"]["metadata"]) == {"topic": "port"}


def test_every_problem_names_its_row_and_why(office: Office) -> None:
    problems = office.first.object["problems"]
    assert isinstance(problems, list)
    codes = {problem["source"].split("row ")[1].split(" ")[0]: problem for problem in problems}

    assert set(codes) == {"11", "12", "13", "14"}
    assert codes["11"]["code"] == "empty_text"
    assert codes["12"]["code"] == "repeated_id"
    assert all(problem["reason"] and problem["outcome"] == "failed" for problem in problems)


def test_without_json_the_problems_are_a_table_and_a_line_says_how_to_search(
    office: Office,
) -> None:
    result = run_cli("embed", office.table, "-c", "shown", state=office.state)
    lines = result.stdout.splitlines()

    assert result.code == 3, result.stderr
    assert lines[0].split() == ["OUTCOME", "CODE", "SOURCE", "REASON"]
    assert "done: 14 texts read: 10 cached, 4 failed" in result.stdout
    assert ESCAPE not in result.stdout + result.stderr
    assert result.stderr.rstrip().rsplit("\n", 1)[-1].startswith("search with: ")


def test_a_second_run_embeds_nothing_and_reports_the_same_problems(office: Office) -> None:
    again = run_cli("embed", office.table, "-c", "faq", "--json", state=office.state)
    answer = again.object

    assert again.code == 3, again.stderr
    assert answer["texts"] == {"read": 14, "embedded": 0, "cached": 10, "failed": 4}
    assert (answer["rows"], answer["problems"]) == (10, office.first.object["problems"])


def test_what_was_embedded_is_found(office: Office) -> None:
    result = run_cli(
        "search", "how heavy a load can be lifted", "-c", "faq", "--json", state=office.state
    )
    hits = result.object["hits"]
    assert isinstance(hits, list)

    assert (result.code, result.stderr) == (0, "")
    assert hits[0]["id"] == "q1"
    assert hits[0]["metadata"] == {"topic": "port"}


def test_a_wrong_column_is_wrong_use_and_names_the_nearest(office: Office) -> None:
    result = run_cli(
        "embed", office.table, "-c", "wrong", "--text-column", "txet", state=office.state
    )

    assert (result.code, result.stdout) == (2, "")
    assert "txet" in result.stderr
    assert "text" in result.stderr.rsplit("try: ", 1)[1] or "'text'" in result.stderr
    assert not (office.state / "lancedb" / "wrong.lance").exists()


def test_a_missing_file_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    result = run_cli("embed", tmp_path / "gone.csv", "-c", "faq", state=tmp_path / "state")

    assert (result.code, result.stdout) == (2, "")
    assert str(tmp_path / "gone.csv") in result.stderr
    assert result.stderr.rstrip().rsplit("\n", 1)[-1].startswith("try: ")
    assert not (tmp_path / "state").exists()


def test_only_bad_rows_are_exit_code_1(office: Office) -> None:
    table = office.state.parent / "bad.jsonl"
    table.write_text(line(id="e", text="") + line(id="n", text=None))
    result = run_cli("embed", table, "-c", "bad", "--json", "--no-progress", state=office.state)

    assert (result.code, result.stderr) == (1, "")
    assert result.object["texts"] == {"read": 2, "embedded": 0, "cached": 0, "failed": 2}


def test_a_latin_1_csv_is_read_and_its_ids_stay_as_they_are(office: Office) -> None:
    table = office.state.parent / "preise.csv"
    text = "id;text;währung\n007;Ein Liegeplatz kostet überall fünf.;Gül­den\n008;Größe zählt.;Öre\n"
    table.write_bytes(text.replace("\u00ad", "").encode("latin-1"))
    result = run_cli("embed", table, "-c", "preise", "--json", state=office.state)
    rows = rows_of(office.state, "preise")

    assert result.code == 0, result.stderr
    assert [row["id"] for row in rows] == ["007", "008"]
    assert rows[1]["text"] == "Größe zählt."
    assert json.loads(rows[1]["metadata"]) == {"währung": "Öre"}


def test_json_lines_from_stdin_are_a_table(office: Office) -> None:
    arguments = ("embed", "-", "-c", "stdin", "--json")
    first = run_cli(*arguments, state=office.state, stdin=line(text="One.") + line(text="Two."))
    again = run_cli(*arguments, state=office.state, stdin=line(text="One.") + line(text="Two."))
    other = run_cli(*arguments, state=office.state, stdin=line(text="Three."))
    wrong = run_cli("embed", "-", "-c", "stdin", state=office.state, stdin=line(texts="Four."))

    assert [first.code, again.code, other.code] == [0, 0, 0], first.stderr
    assert [run.object["rows"] for run in (first, again, other)] == [2, 2, 3]
    assert again.object["texts"] == {"read": 2, "embedded": 0, "cached": 2, "failed": 0}
    assert wrong.code == 2
    assert "stdin" in wrong.stderr
    assert str(office.state) not in wrong.stderr
    assert list((office.state / "scratch" / "stdin").iterdir()) == []


def test_json_progress_is_json_lines_that_end_with_the_summary(office: Office) -> None:
    result = run_cli(
        "embed", office.table, "-c", "lines", "--json-progress", "--json", state=office.state
    )
    lines = [json.loads(written) for written in result.stderr.splitlines()]
    kinds = [written["message_type"] for written in lines]
    statuses = [written for written in lines if written["message_type"] == "status"]

    assert result.code == 3
    assert kinds[0] == "status"
    assert kinds[-5:] == ["error"] * 4 + ["summary"]
    assert lines[-1]["texts"] == result.object["texts"]
    assert all(0 <= status["percent_done"] <= 1 for status in statuses)
    assert statuses[-1]["texts_total"] == 14


def test_a_terminal_sees_a_live_display_and_a_summary(
    office: Office, screen: list[Terminal]
) -> None:
    terminal = Terminal(["embed", office.table, "-c", "live"], state=office.state)
    screen.append(terminal)
    shown = terminal.read_to_end()

    assert terminal.process.returncode == 3
    assert f"{ESCAPE}[?25l" in shown
    assert shown.rindex(f"{ESCAPE}[?25h") > shown.rindex(f"{ESCAPE}[?25l")
    assert "14 texts read: 10 cached, 4 failed" in shown


def test_an_interrupted_run_says_how_to_go_on_and_goes_on(tmp_path: Path) -> None:
    state, table, texts = tmp_path / "state", tmp_path / "many.jsonl", 3_000
    with table.open("w") as file:
        for number in range(texts):
            text = f"Rule {number} of the quay: berth {number % 97} is for vessel {number * 31}."
            file.write(line(id=str(number), text=text))
    arguments = ["embed", table, "-c", "many", "--json", "--json-progress"]
    process = start_cli(*arguments, state=state, env=IN_PROCESS)
    assert process.stderr is not None
    for written in process.stderr:
        if json.loads(written).get("texts_done", 0) > 0:
            break
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    took = time.monotonic() - began

    assert process.returncode == 130, errors
    assert took < 8
    messages = [json.loads(written) for written in errors.splitlines()]
    go_on = next(m["message"] for m in messages if m.get("label") == "go on with")
    assert go_on.endswith(f"embed {table} -c many --json --json-progress")
    stopped = json.loads(output)
    assert 0 < stopped["texts"]["embedded"] < texts

    resumed = run_cli(*arguments, state=state, env=IN_PROCESS)
    assert resumed.code == 0, resumed.stderr
    assert resumed.object["job_id"] == stopped["job_id"]
    counted = resumed.object["texts"]
    assert isinstance(counted, dict)
    assert (counted["read"], resumed.object["rows"]) == (texts, texts)
    assert counted["embedded"] + counted["cached"] == texts
    assert counted["embedded"] >= stopped["texts"]["embedded"]
