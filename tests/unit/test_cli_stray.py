"""Output of libraries and children stays out of stdout and out of JSON Lines."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lexigram_ray.cli.output import write_json
from lexigram_ray.cli.progress import JsonLinesDisplay
from lexigram_ray.cli.stray import SaidLines, stdout_is_for_results


def test_what_libraries_and_children_print_does_not_reach_stdout(
    capfd: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []
    with stdout_is_for_results(said.append):
        print("a library")
        subprocess.run(["echo", "a child"], check=True)
    write_json({"result": 1})

    assert capfd.readouterr() == ('{"result": 1}\n', "a child\n")
    assert said == ["a library"]


def test_lines_are_said_whole_and_without_their_colours() -> None:
    said: list[str] = []
    stream = SaidLines(said.append)
    for piece in ("\x1b[33m(ray", "let)\x1b[0m failed\n\n", "not ended"):
        stream.write(piece)

    assert said == ["(raylet) failed"]


def test_json_lines_stay_json_whatever_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonLinesDisplay():
        print("a library complains", file=sys.stderr)
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())

    assert line == {"message_type": "message", "label": "output", "message": "a library complains"}
