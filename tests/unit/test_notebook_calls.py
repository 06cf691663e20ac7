"""Calls from Python: their configuration, their errors, and Ctrl-C in the middle of one."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import ConfigError, UsageError
from lexigram_ray.notebook.calls import search, settings_of
from lexigram_ray.notebook.interrupt import stopping_on_interrupt
from tests.command_line import HEAR_SIGNALS


@pytest.fixture(autouse=True)
def no_application_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_arguments_stand_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "workers.yaml"
    file.write_text("ai_workers:\n  embedding: {precision: fp32, dimensions: 64}\n")
    settings = settings_of(file, tmp_path / "state", embedding={"dimensions": 32, "model": None})

    assert settings.state_dir == tmp_path / "state"
    assert (settings.embedding.precision, settings.embedding.dimensions) == ("fp32", 32)


def test_arguments_stand_over_a_configuration_that_was_given(tmp_path: Path) -> None:
    given = load_config(state_dir=tmp_path, embedding={"precision": "fp32", "cache": False})
    settings = settings_of(given, None, embedding={"dimensions": 32})

    assert settings_of(given, None, embedding={"dimensions": None}) is given
    assert settings.state_dir == tmp_path
    assert settings.embedding.model_dump() == given.embedding.model_dump() | {"dimensions": 32}
    assert type(settings) is WorkersConfig


def test_arguments_of_several_sections_leave_the_rest_of_each(tmp_path: Path) -> None:
    file = tmp_path / "workers.yaml"
    file.write_text("ai_workers:\n  chunking: {strategy: characters, size: 300}\n")
    asked = {"chunking": {"overlap": 20, "size": None}, "parser": {"ocr": True}}

    for given in (file, load_config(file)):
        settings = settings_of(given, tmp_path / "state", **asked)
        chunking = settings.chunking
        assert (chunking.strategy, chunking.size, chunking.overlap) == ("characters", 300, 20)
        assert settings.parser.ocr
        assert settings.state_dir == tmp_path / "state"


def test_a_wrong_value_over_a_given_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"embedding\.precision"):
        settings_of(load_config(state_dir=tmp_path), None, embedding={"precision": "fp8"})


def test_a_traceback_ends_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        search(" ", collection="faq", state=tmp_path)

    assert raised.value.__notes__ == ["try: say what to look for"]


def interrupted(work: str, *signals: signal.Signals) -> tuple[str, str]:
    """Run `work` with `stop` and `interrupts` at hand, and send it signals when it is ready."""
    program = f"""
        import signal, threading, time
        from lexigram_ray.notebook.interrupt import stopping_on_interrupt
        stop, heard = threading.Event(), threading.Event()
        def on_first():
            print("first", flush=True)
            heard.set()
        with stopping_on_interrupt(stop, on_first) as interrupts:
            {work.replace(chr(10), chr(10) + " " * 12)}
        print("ended", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """
    process = subprocess.Popen(
        [*HEAR_SIGNALS, sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        said = process.stdout.readline()
        for number in signals:
            process.send_signal(number)
            said += process.stdout.readline()
        # Not `communicate`: it knows nothing of what `readline` has read ahead.
        return said + process.stdout.read(), process.stderr.read()


def test_the_first_interrupt_only_asks_to_stop() -> None:
    work = "print('ready', flush=True)\nstop.wait(10)\nheard.wait(10)"

    assert interrupted(work, signal.SIGINT) == ("ready\nfirst\nended True\n", "")


def test_the_second_interrupt_raises_where_the_work_is() -> None:
    work = "print('ready', flush=True)\ntime.sleep(10)"
    output, errors = interrupted(work, signal.SIGINT, signal.SIGINT)

    assert output == "ready\nfirst\n"
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_a_handler_that_a_library_puts_in_place_is_taken_back() -> None:
    work = (
        "signal.signal(signal.SIGINT, lambda *_: print('library', flush=True))\n"
        "interrupts.rearm()\nprint('ready', flush=True)\nstop.wait(10)\nheard.wait(10)"
    )

    assert interrupted(work, signal.SIGINT) == ("ready\nfirst\nended True\n", "")


def test_in_another_thread_signals_are_left_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with stopping_on_interrupt(threading.Event(), lambda: None) as interrupts:
            interrupts.rearm()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [signal.getsignal(signal.SIGINT)]
