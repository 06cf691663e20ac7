"""Errors become a message, a way out and an exit code, whatever they are."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from lexigram_ray.cli.error_edge import report
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.core import errors
from lexigram_ray.core.errors import (
    DocumentSkipped,
    StoreUnreachableError,
    TextsRefusedError,
    WorkerError,
)


def invocation(tmp_path: Path, *, as_json: bool = False) -> Invocation:
    return Invocation(argv=("ingest", "a b", "-c", "docs"), state=tmp_path, json=as_json)


def every_error() -> list[type[WorkerError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    # Outcomes of one document and of some texts never reach the edge.
    outcomes = (DocumentSkipped, TextsRefusedError)
    return [cls for cls in found if issubclass(cls, WorkerError) and cls not in outcomes]


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_every_error_of_ours_has_a_way_out_and_its_own_code(
    cls: type[WorkerError], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = report(cls("the thing is broken"), invocation(tmp_path))
    first, last = capsys.readouterr().err.splitlines()

    assert code == cls.exit_code
    assert first == "error: the thing is broken"
    assert last.startswith("try: ")


def test_the_hint_is_the_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = report(StoreUnreachableError("no store", hint="start it"), invocation(tmp_path))

    assert code == 4
    assert capsys.readouterr().err == "error: no store\ntry: start it\n"


def test_an_unforeseen_error_is_one_line_and_its_traceback_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = report(ValueError("odd\nthing"), invocation(tmp_path))
    shown = capsys.readouterr().err
    (log,) = (tmp_path / "logs").iterdir()

    assert code == 1
    assert shown.splitlines()[0] == "error: unexpected ValueError: odd\\nthing"
    assert str(log) in shown
    assert "Traceback" not in shown
    assert "ValueError: odd" in log.read_text()


def test_a_full_disk_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "file"))
    code = report(full, invocation(tmp_path))

    assert code == 1
    assert "no space left" in capsys.readouterr().err


def test_an_interrupt_names_the_line_that_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = report(KeyboardInterrupt(), invocation(tmp_path))

    assert code == 130
    assert capsys.readouterr().err.endswith("ingest 'a b' -c docs\n")


def test_there_is_never_a_second_json_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = invocation(tmp_path, as_json=True)
    run.answer({"first": True})
    report(WorkerError("too late"), run)

    assert capsys.readouterr().out == '{"first": true}\n'


def test_among_json_lines_an_error_is_one_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = invocation(tmp_path)
    run.json_lines = True
    report(StoreUnreachableError("no store", hint="start it"), run)
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())

    assert line["message_type"] == "error"
    assert line["error"] == {
        "code": "store_unreachable",
        "message": "no store",
        "hint": "start it",
    }
