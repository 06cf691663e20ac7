"""Output of libraries and children stays out of stdout, out of JSON Lines and off the display."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from lexigram_ray.cli.displays import JsonLines
from lexigram_ray.cli.output import write_json
from lexigram_ray.cli.stray import SaidLines, stdout_is_for_results
from tests.command_line import HEAR_SIGNALS

RAY = "[2026-11-24 08:29:58,037 E 25207 25380] task_manager.cc:1545: Failed to push error to driver"
FATAL = RAY.replace(" E ", " C ")


def test_what_libraries_and_children_print_does_not_reach_stdout(
    capfd: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []
    with stdout_is_for_results(said.append):
        print("a library")
        subprocess.run("echo a child; echo its complaint >&2", shell=True, check=True)
        ctypes.CDLL(None).puts(b"a library in C, which keeps it in a buffer")
    write_json({"result": 1})

    assert capfd.readouterr() == ('{"result": 1}\n', "")
    assert sorted(said) == [
        "a child",
        "a library",
        "a library in C, which keeps it in a buffer",
        "its complaint",
    ]


def test_ray_s_own_log_is_not_said_and_all_around_it_is() -> None:
    said: list[str] = []
    around = ["(raylet) out of memory", "  indented below another line", FATAL]
    with stdout_is_for_results(said.append):
        for line in (around[0], around[1], RAY, "\t(1) its second line", RAY, FATAL):
            os.write(2, f"{line}\n".encode())

    assert said == [line.strip() for line in around]


def test_no_line_is_lost_and_streams_are_as_before() -> None:
    said: list[str] = []
    before = sys.stdout, sys.stderr
    with stdout_is_for_results(said.append):
        for number in range(20_000):
            os.write(1 + number % 2, b"%d\n" % number)
        os.write(2, "nicht beendet: ö\xff".encode("latin-1"))
        print("begun", end="")

    assert said[:20_000] == [str(number) for number in range(20_000)]
    assert sorted(said[20_000:]) == ["begun", "nicht beendet: ��"]
    assert before == (sys.stdout, sys.stderr)
    assert "stray-lines" not in {thread.name for thread in threading.enumerate()}


def test_a_child_that_outlives_the_run_does_not_hold_up_its_end() -> None:
    said: list[str] = []
    with stdout_is_for_results(said.append):
        child = subprocess.Popen(["sh", "-c", "echo ready; exec sleep 600"])
        while not said:
            time.sleep(0.01)

    assert child.poll() is None
    child.kill()
    child.wait()


def test_whoever_writes_goes_on_when_nobody_can_be_told() -> None:
    def refuse(_line: str) -> None:
        raise BrokenPipeError

    with stdout_is_for_results(refuse):
        for _ in range(40):  # more than the pipe holds
            os.write(2, b"x" * 65_535 + b"\n")


def test_lines_are_said_whole_and_without_their_colours() -> None:
    said: list[str] = []
    stream = SaidLines(said.append)
    for piece in ("\x1b[33m(ray", "let)\x1b[0m failed\n\n", "not ended"):
        stream.write(piece)

    assert said == ["(raylet) failed"]


def test_json_lines_stay_json_whatever_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonLines():
        print("a library complains", file=sys.stderr)
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())

    assert line == {"message_type": "message", "label": "output", "message": "a library complains"}


def test_a_line_printed_before_the_display_begins_does_not_come_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    display, said = JsonLines(), threading.Event()

    def say(line: str) -> None:
        display.say(line, label="output")
        said.set()

    with stdout_is_for_results(say):
        os.write(2, b"early\n")
        assert said.wait(10)
        with display:
            os.write(2, b"late\n")
    shown = capfd.readouterr().err.splitlines()

    assert [json.loads(line)["message"] for line in shown] == ["early", "late"]


# A run in small: a display made before, strays of every kind meanwhile, a message after.
RUN = f"""
import os, subprocess, sys, time
from lexigram_ray.cli.displays import choose_display
from lexigram_ray.cli.ingest_progress import IngestMoment
from lexigram_ray.cli.stray import open_closed_streams, stdout_is_for_results
from lexigram_ray.jobs.report import Progress

open_closed_streams()
descriptors = os.listdir("/proc/self/fd")
display = choose_display(show=True, json_lines="--json" in sys.argv)
stray = lambda line: display.say(line, label="output", style="dim")
with stdout_is_for_results(stray), display:
    display.update(IngestMoment(Progress(phase="ingesting", current="x" * 300)))
    os.write(2, b"{RAY}\\n")
    os.write(2, b"written\\n")
    subprocess.run(["echo", "printed"])
    print("complained", file=sys.stderr, flush=True)
    WORK
display.say("told", label="after")
print("result", len(os.listdir("/proc/self/fd")) - len(descriptors))
"""


ENDLESS = """
    import threading
    from lexigram_ray.cli.interrupts import Interrupts
    from lexigram_ray.cli.output import restore_terminal
    said = lambda: display.say("once more ends it", label="stopping")
    with Interrupts(stop=threading.Event(), on_first=said, on_exit=restore_terminal):
        display.say("signals are heard", label="note")
        time.sleep(60)
"""


def run_in_small(*arguments: str, work: str = "time.sleep(0.3)") -> list[str]:
    return [*HEAR_SIGNALS, sys.executable, "-c", RUN.replace("WORK", work.strip()), *arguments]


def test_json_lines_are_all_that_stderr_holds_whoever_writes_to_its_descriptor() -> None:
    done = subprocess.run(run_in_small("--json"), capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert done.stdout == "result 0\n"
    assert lines[0]["message_type"] == "status"
    assert {line["message"] for line in lines if line["message_type"] == "message"} == {
        "written",
        "printed",
        "complained",
        "told",
    }


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_lines_for_people_keep_their_stream(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "stderr"
    with path.open("w") as file:
        stderr = file if kind == "file" else subprocess.PIPE
        done = subprocess.run(
            run_in_small(), stdout=subprocess.PIPE, stderr=stderr, text=True, check=True
        )
    lines = (path.read_text() if kind == "file" else done.stderr).splitlines()

    assert done.stdout == "result 0\n"
    assert lines[0].endswith("ingesting")
    assert sorted(lines[1:-1]) == ["complained", "output: printed", "output: written"]
    assert lines[-1] == "after: told"


def test_the_place_of_a_native_crash_is_shown() -> None:
    crash = "import ctypes; ctypes.string_at(0)"
    done = subprocess.run(run_in_small(work=crash), capture_output=True, text=True, check=False)

    assert done.returncode == -signal.SIGSEGV
    assert "Segmentation fault" in done.stderr
    assert "in string_at" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_closed_stderr_costs_only_what_it_would_have_shown(arguments: tuple[str, ...]) -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *run_in_small(*arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("result 0\n", "")


@contextlib.contextmanager
def on_a_screen(command: list[str]) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """Run it with a terminal of 132 columns for stderr alone."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (30, 132))
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(slave)
    try:
        yield process, master
    finally:
        process.kill()
        process.communicate()
        os.close(master)


def read_screen(master: int, until: str = "") -> str:
    shown = b""
    # At the end of the command, reading from a pseudo-terminal is an error on Linux.
    with contextlib.suppress(OSError):
        while not until or until.encode() not in shown:
            shown += os.read(master, 65_536)
    return shown.decode()


def test_a_display_keeps_its_terminal_its_width_and_its_colours() -> None:
    with on_a_screen(run_in_small()) as (process, master):
        shown = read_screen(master)
        output, _ = process.communicate(timeout=20)

    assert output == b"result 0\n"
    assert process.returncode == 0
    assert "task_manager" not in shown
    assert [shown.count(word) for word in ("written", "printed", "complained", "told")] == [1] * 4
    assert "…" + "x" * 130 in shown
    assert "\x1b[2moutput: " in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_a_second_signal_shows_the_cursor_again() -> None:
    with on_a_screen(run_in_small(work=ENDLESS)) as (process, master):
        read_screen(master, "signals are heard")
        process.send_signal(signal.SIGINT)
        read_screen(master, "once more ends it")
        process.send_signal(signal.SIGINT)
        shown = read_screen(master)

        assert process.wait(timeout=20) == 130
    assert "\x1b[?25h" in shown
