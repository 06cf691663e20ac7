"""Starting: help, completion, versions, and what may not be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import PROGRAM, clean_environment, run_cli

COMMANDS = [
    (),
    ("ingest",),
    ("embed",),
    ("search",),
    ("collections",),
    ("collections", "list"),
    ("collections", "show"),
    ("collections", "drop"),
    ("cache",),
    ("cache", "show"),
    ("cache", "clean"),
    ("cache", "clear"),
    ("jobs",),
    ("jobs", "list"),
    ("jobs", "show"),
    ("jobs", "watch"),
    ("jobs", "cancel"),
    ("jobs", "retry"),
    ("dlq",),
    ("dlq", "list"),
    ("dlq", "show"),
    ("dlq", "groups"),
    ("dlq", "retry"),
    ("dlq", "archive"),
    ("dlq", "delete"),
    ("store",),
    ("store", "backup"),
    ("store", "restore"),
    ("up",),
    ("down",),
    ("status",),
    ("doctor",),
]
HEAVY = ("torch", "ray", "lance", "lancedb", "openvino", "sqlalchemy", "pydantic_settings")


def imported_by(code: str) -> set[str]:
    program = f"{code}\nimport sys\nprint(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_that_begins_with_examples(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    result = run_cli(*command, "--help", state=tmp_path / "state")

    assert (result.code, result.stderr) == (0, "")
    assert "lexigram-ray" in result.stdout.split("Examples:")[1].split("Options:")[0]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_option_names_its_environment_variable(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    result = run_cli(*command, "--help", state=tmp_path / "state", env={"COLUMNS": "200"})

    without = {"--help", "--version", "--install-completion", "--show-completion"}
    options = result.stdout.split("Options:")[1].split("Commands:")[0]
    entries = [entry for entry in options.replace("\n  -", "\n\0-").split("\0") if "--" in entry]
    assert entries
    for entry in entries:
        assert "env var:" in " ".join(entry.split()) or any(name in entry for name in without)


def test_importing_the_package_imports_neither_torch_nor_ray() -> None:
    assert not imported_by("import lexigram_ray").intersection(HEAVY)


def test_the_help_imports_nothing_heavy() -> None:
    modules = imported_by("import lexigram_ray.cli.app")

    assert not modules.intersection(HEAVY)
    assert "lexigram_ray.jobs.records" not in modules


def test_the_version_is_printed(tmp_path: Path) -> None:
    from lexigram_ray import __version__

    result = run_cli("--version", state=tmp_path / "state")

    assert (result.code, result.stdout) == (0, f"lexigram-ray {__version__}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM],
        env=clean_environment(_LEXIGRAM_RAY_COMPLETE=f"source_{shell}"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert "lexigram-ray" in done.stdout


def test_global_options_may_stand_before_the_command(tmp_path: Path) -> None:
    result = run_cli(
        "--json", "--state", tmp_path / "other", "collections", "list", state=tmp_path / "state"
    )

    assert (result.code, result.object) == (0, {"items": [], "next": None})


def test_output_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    result = run_cli(
        "collections",
        "show",
        "größe",
        "--json",
        state=tmp_path / "state",
        env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )

    assert result.code == 2
    assert isinstance(result.object["error"], dict)


@pytest.mark.parametrize("streams", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_wrong_use_with_closed_streams_is_still_wrong_use(streams: str, tmp_path: Path) -> None:
    command = ["sh", "-c", f'exec "$@" {streams}', "sh", *PROGRAM, "search", "x", "--no-such"]
    done = subprocess.run(
        command,
        env=clean_environment(LEXIGRAM_RAY_STATE=str(tmp_path)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*PROGRAM, "collections", "list", "--json"],
            env=clean_environment(LEXIGRAM_RAY_STATE=str(tmp_path)),
            cwd=tmp_path,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)

    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
