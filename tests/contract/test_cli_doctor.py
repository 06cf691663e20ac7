"""The doctor on machines that are not well."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command_line import Result, run_cli


def check(result: Result, name: str) -> dict[str, str]:
    checks = result.object["checks"]
    assert isinstance(checks, list)
    return next(each for each in checks if each["name"] == name)


def test_it_makes_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    result = run_cli("doctor", "--json", state=state)

    assert check(result, "store")["status"] == "ok"
    assert not state.exists()


def test_a_wrong_setting_is_a_failed_check_with_a_fix(tmp_path: Path) -> None:
    env = {"LEX_AI_WORKERS__JOBS__LEASE_SECONDS": "-5"}
    result = run_cli("doctor", "--json", state=tmp_path / "state", env=env)

    assert result.code == 1
    assert check(result, "config")["status"] == "fail"
    assert "jobs.lease_seconds" in check(result, "config")["detail"]
    assert check(result, "python")["status"] == "ok"


def test_a_damaged_store_is_a_failed_check_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("no database" * 1000)
    result = run_cli("doctor", "--json", state=tmp_path)

    assert result.code == 1
    assert check(result, "store")["status"] == "fail"
    assert check(result, "store")["fix"]


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/state"])
def test_a_state_directory_that_cannot_be_made_is_a_failed_check(
    place: str, tmp_path: Path
) -> None:
    result = run_cli("doctor", "--json", "--state", place, state=tmp_path)

    assert result.code == 1
    assert check(result, "state")["status"] == "fail"


def test_an_unknown_model_is_a_failed_check(tmp_path: Path) -> None:
    env = {"LEX_AI_WORKERS__EMBEDDING__MODEL": "nobody/no-such-model"}
    result = run_cli("doctor", "--json", state=tmp_path / "state", env=env)

    assert result.code == 1
    assert check(result, "model")["status"] == "fail"
    assert "nobody/no-such-model" in check(result, "model")["detail"]


def test_unset_allowed_roots_are_a_warning_in_production(tmp_path: Path) -> None:
    env = {"LEX_AI_WORKERS__ENV": "production"}
    result = run_cli("doctor", "--json", state=tmp_path / "state", env=env)

    assert check(result, "allowed roots")["status"] == "warn"


def test_settings_that_do_not_fit_production_are_named_with_a_fix(tmp_path: Path) -> None:
    env = {"LEX_AI_WORKERS__ENV": "production", "LEX_AI_WORKERS__SERVICE__HOST": "0.0.0.0"}
    result = run_cli("doctor", "--json", state=tmp_path / "state", env=env)

    assert result.code == 1
    assert check(result, "service.tokens")["status"] == "fail"
    assert check(result, "store_url")["status"] == "warn"
    assert "PostgreSQL" in check(result, "store_url")["fix"]


def test_what_has_a_check_of_its_own_is_said_once(tmp_path: Path) -> None:
    env = {"LEX_AI_WORKERS__ENV": "production", "LEX_AI_WORKERS__EMBEDDING__MODEL": "nobody/none"}
    result = run_cli("doctor", "--json", state=tmp_path / "state", env=env)

    names = [each["name"] for each in result.object["checks"]]
    assert not {"embedding.model", "allowed_roots"}.intersection(names)
    assert len(names) == len(set(names))


def test_settings_that_fit_are_one_line(tmp_path: Path) -> None:
    result = run_cli("doctor", "--json", state=tmp_path / "state")

    assert check(result, "environment")["status"] == "ok"


def test_ocr_without_tesseract_is_a_failed_check(tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    env = {"LEX_AI_WORKERS__PARSER__OCR": "true", "PATH": str(empty)}
    result = run_cli("doctor", "--json", state=tmp_path / "state", env=env)

    assert check(result, "ocr")["status"] == "fail"


def test_people_see_a_line_a_check_and_how_to_fix_it(tmp_path: Path) -> None:
    env = {"LEX_AI_WORKERS__EMBEDDING__MODEL": "nobody/no-such-model", **os.environ}
    result = run_cli("doctor", state=tmp_path / "state", env=env)

    assert "fail  model" in result.stdout
    assert "fix: " in result.stdout
