"""Wrong use: exit code 2, a message that names the thing, a way out, and nothing done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import run_cli

BAD_NAMES = ["a/b", "..", "", "x" * 300, "a\nb", ".hidden", "-"]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def note(tmp_path: Path) -> Path:
    file = tmp_path / "note.txt"
    file.write_text("Fog signals are given twice a minute.")
    return file


def last_line(text: str) -> str:
    return text.rstrip("\n").rsplit("\n", 1)[-1]


def test_an_unknown_option_is_wrong_use_and_names_the_way_to_help(state: Path) -> None:
    result = run_cli("search", "x", "--colection", "docs", state=state)

    assert result.code == 2
    assert result.stdout == ""
    assert "--colection" in result.stderr
    assert last_line(result.stderr) == "try: lexigram-ray search --help"


def test_an_unknown_command_is_wrong_use(state: Path) -> None:
    result = run_cli("ingets", "x", state=state)

    assert result.code == 2
    assert "ingets" in result.stderr


def test_no_command_shows_the_help_on_stderr_and_is_wrong_use(state: Path) -> None:
    result = run_cli(state=state)

    assert (result.code, result.stdout) == (2, "")
    assert "Examples:" in result.stderr


def test_a_missing_path_is_named_and_nothing_is_made(state: Path, tmp_path: Path) -> None:
    result = run_cli("ingest", tmp_path / "gone", "--collection", "docs", state=state)

    assert result.code == 2
    assert str(tmp_path / "gone") in result.stderr
    assert last_line(result.stderr).startswith("try: ")
    assert not state.exists()


@pytest.mark.parametrize("command", [["search", "fog"], ["collections", "show"]])
def test_an_unknown_collection_is_named(state: Path, command: list[str]) -> None:
    where = ["--collection", "nowhere"] if command[0] == "search" else ["nowhere"]
    result = run_cli(*command, *where, state=state)

    assert (result.code, result.stdout) == (2, "")
    assert "nowhere" in result.stderr


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_collection_name_is_refused_by_ingest(state: Path, note: Path, name: str) -> None:
    result = run_cli("ingest", note, f"--collection={name}", state=state)

    assert result.code == 2, result.stderr
    assert last_line(result.stderr).startswith("try: ")
    assert not (state / "lancedb").exists()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_collection_name_is_refused_by_search(state: Path, name: str) -> None:
    result = run_cli("search", "fog", f"--collection={name}", state=state)

    assert result.code == 2, result.stderr
    assert last_line(result.stderr).startswith("try: ")


def test_with_json_an_error_is_the_one_object_on_stdout(state: Path) -> None:
    result = run_cli("search", "fog", "-c", "nowhere", "--json", state=state)

    error = result.object["error"]
    assert result.code == 2
    assert isinstance(error, dict)
    assert error["code"] == "collection_not_found"
    assert "nowhere" in error["message"]
    assert error["hint"]


def test_with_json_even_an_unknown_option_is_an_object(state: Path) -> None:
    result = run_cli("search", "fog", "--json", "--nope", state=state)

    error = result.object["error"]
    assert result.code == 2
    assert isinstance(error, dict)
    assert error["code"] == "usage"


def test_an_unknown_setting_names_the_nearest_one(state: Path) -> None:
    result = run_cli(
        "collections", "list", state=state, env={"LEX_AI_WORKERS__PARSER__OCRR": "true"}
    )

    assert result.code == 2
    assert "LEX_AI_WORKERS__PARSER__OCR" in result.stderr


def test_a_wrong_value_in_the_configuration_file_is_named(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "application.yaml"
    config.write_text("ai_workers:\n  parser:\n    timeout_seconds: -1\n")
    result = run_cli("collections", "list", "--config", config, state=state)

    assert result.code == 2
    assert "parser.timeout_seconds" in result.stderr


def test_a_traceback_is_shown_only_with_debug(state: Path) -> None:
    quiet = run_cli("search", "fog", "-c", "nowhere", state=state)
    loud = run_cli("search", "fog", "-c", "nowhere", "--debug", state=state)

    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr
    assert last_line(loud.stderr).startswith("try: ")


def test_a_store_that_cannot_be_opened_is_exit_code_4(state: Path, note: Path) -> None:
    state.mkdir()
    (state / "jobs.db").write_text("this is no database" * 1000)
    result = run_cli("ingest", note, "--collection", "docs", state=state)

    assert result.code == 4, result.stderr
    assert str(state / "jobs.db") in result.stderr


def test_an_unknown_model_is_refused_before_any_work(state: Path, note: Path) -> None:
    result = run_cli(
        "ingest", note, "-c", "docs", "--model", "nobody/no-such-model", "--json", state=state
    )

    error = result.object["error"]
    assert result.code == 2
    assert isinstance(error, dict)
    assert error["code"] == "model_not_found"
    assert not (state / "lancedb" / "docs.lance").exists()
