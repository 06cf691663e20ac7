from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lexigram_ray.core.config import ParserSettings
from lexigram_ray.core.errors import (
    ChangedError,
    DocumentSkipped,
    EncryptedError,
    LimitExceededError,
    ParseFailedError,
    ParserDiedError,
    ParserKilledError,
    ParserStartError,
    ParserTimeoutError,
)
from lexigram_ray.core.ids import document_id, hash_file, source_name
from lexigram_ray.core.types import Document, FailureCategory, FileStamp
from lexigram_ray.ingestion import frames, sandbox
from lexigram_ray.ingestion.parsed_store import ParsedStore
from lexigram_ray.ingestion.sandbox import SandboxedParser
from lexigram_ray.ingestion.scratch import ScratchFolder
from tests import documents

pytestmark = pytest.mark.timeout(120)

# A parser with a fault: it does to itself what the file's first word says.
FAULTY = textwrap.dedent("""
    import ctypes, os, signal, sys, time
    from dataclasses import replace
    from lexigram_ray.ingestion import parse, sandbox_child

    def faulty(path, content_hash, options):
        order = open(path).read().split()[0]
        if order == "hang":
            time.sleep(600)
        if order == "spin":
            while True:
                pass
        if order == "segfault":
            ctypes.string_at(0)
        if order == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "exit":
            sys.exit("gave up")
        if order == "allocate":
            blocks = []
            while True:
                blocks.append(bytearray(64 << 20))
        if order == "abort":
            sys.stderr.write("memory allocation of 4294967296 bytes failed\\\\n")
            sys.stderr.flush()
            os.abort()
        if order == "raise":
            raise KeyError("what no one foresaw")
        if order == "print":
            print("noise of a library")
            os.write(1, b"more noise")
        if order == "mute":
            os.closerange(3, 256)
            time.sleep(600)
        if order == "fork":
            if os.fork() == 0:
                time.sleep(600)
            time.sleep(600)
        if order == "environment":
            text = "\\n".join(f"{name}={value}" for name, value in os.environ.items())
            return replace(original(path, content_hash, options), text=text)
        return original(path, content_hash, options)

    original = parse.parse_file
    sandbox_child.parse_file = faulty
    sandbox_child.main()
""").replace("\\\\n", "\\n")


def settings(**values: object) -> ParserSettings:
    return ParserSettings(**values)  # pyright: ignore[reportArgumentType]


def document(path: Path, *, content_hash: str | None = None) -> Document:
    status = path.stat()
    return Document(
        document_id=document_id(path),
        path=str(path),
        source=source_name(path),
        stamp=FileStamp(
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            inode=status.st_ino,
        ),
        content_hash=hash_file(path) if content_hash is None else content_hash,
    )


def write(folder: Path, text: str) -> Document:
    path = folder / f"{text.split(maxsplit=1)[0]}.txt"
    path.write_text(text)
    return document(path)


OTHERS = set[int]()
"""Processes that were there before the test: of earlier tests, or of the session."""


@pytest.fixture(autouse=True)
def others() -> None:
    OTHERS.clear()
    OTHERS.update(process.pid for process in psutil.Process().children(recursive=True))


def children() -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE
        and process.pid not in OTHERS
        # It lives as long as the interpreter, once any test has used multiprocessing.
        and "multiprocessing.resource_tracker" not in " ".join(process.cmdline())
    ]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@pytest.fixture
def store(tmp_path: Path) -> ParsedStore:
    return ParsedStore(tmp_path / "parsed")


@pytest.fixture
def parser(store: ParsedStore) -> Iterator[SandboxedParser]:
    with SandboxedParser(settings(), store) as parser:
        yield parser


@pytest.fixture
def faulty(store: ParsedStore) -> Iterator[SandboxedParser]:
    command = (sys.executable, "-P", "-c", FAULTY)
    limits = settings(timeout_seconds=1.5, memory_mb=512)
    with SandboxedParser(limits, store, command=command) as parser:
        yield parser


def scratch(parser: SandboxedParser) -> list[Path]:
    return list((parser.store.root / "tmp").glob("*"))


def test_every_format_is_parsed_and_kept(parser: SandboxedParser, tmp_path: Path) -> None:
    for path in documents.write_all(tmp_path):
        parsed = parser.parse(document(path))

        assert parsed.content_hash == hash_file(path)
        assert documents.PAGES[0] in " ".join(parsed.text.split())
        assert parser.store.get(parsed.content_hash, str(path)) == parsed


def test_what_the_store_holds_starts_no_process(store: ParsedStore, tmp_path: Path) -> None:
    known = write(tmp_path, "words of a document")
    with SandboxedParser(settings(), store) as first:
        parsed = first.parse(known)

    with SandboxedParser(settings(), store, command=("/does/not/exist",)) as second:
        assert second.parse(known) == parsed


def test_outcomes_cross_the_process_border_with_code_and_hint(
    parser: SandboxedParser, tmp_path: Path
) -> None:
    picture, locked = tmp_path / "a.png", tmp_path / "b.pdf"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    locked.write_bytes(documents.encrypted_pdf())

    with pytest.raises(DocumentSkipped, match="a picture") as skipped:
        parser.parse(document(picture))
    with pytest.raises(EncryptedError) as failed:
        parser.parse(document(locked))

    assert skipped.value.code == "unsupported"
    assert skipped.value.hint is not None
    assert failed.value.hint == "save it without one"
    assert "parse_file" in failed.value.__notes__[0]


def test_a_file_that_changed_since_it_was_hashed_is_said_to_have(
    parser: SandboxedParser, tmp_path: Path
) -> None:
    known = write(tmp_path, "first words")
    Path(known.path).write_text("other words")

    with pytest.raises(ChangedError):
        parser.parse(known)

    assert parser.store.get(known.content_hash, known.path) is None


def test_a_file_name_with_a_newline_or_raw_bytes_is_parsed(
    parser: SandboxedParser, tmp_path: Path
) -> None:
    for name in (b"two\nlines.txt", b"latin-\xe9.txt"):
        path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
        path.write_bytes(b"words")

        assert parser.parse(document(path)).text == "words"


@pytest.mark.slow
def test_a_600_mb_gzip_bomb_is_over_the_limit_and_the_next_document_is_parsed(
    parser: SandboxedParser, tmp_path: Path
) -> None:
    bomb = tmp_path / "bomb.txt.gz"
    bomb.write_bytes(documents.gzip_bomb(600))

    with pytest.raises(LimitExceededError, match="more than 256 MB"):
        parser.parse(document(bomb))

    assert parser.parse(write(tmp_path, "fine")).text == "fine"


@pytest.mark.parametrize("order", ["hang", "spin"])
def test_a_parser_that_hangs_is_killed_at_its_limit(
    faulty: SandboxedParser, tmp_path: Path, order: str
) -> None:
    with pytest.raises(ParserTimeoutError, match=r"longer than 1\.5 s") as raised:
        faulty.parse(write(tmp_path, order))

    assert raised.value.category == FailureCategory.INVALID_INPUT
    assert children() == []
    assert faulty.parse(write(tmp_path, "fine")).text == "fine"


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ("segfault", "SIGSEGV"),
        ("exit", "exit code 1: gave up"),
        ("allocate", "out of memory"),
        ("abort", r"out of memory \(its limit is 512 MB\)"),
    ],
)
def test_a_parser_that_dies_is_one_failure_that_says_how(
    faulty: SandboxedParser, tmp_path: Path, order: str, says: str
) -> None:
    with pytest.raises(ParserDiedError, match=says) as raised:
        faulty.parse(write(tmp_path, order))

    assert (raised.value.category, raised.value.code) == (
        FailureCategory.INVALID_INPUT,
        "parser_died",
    )
    assert faulty.parse(write(tmp_path, "fine")).text == "fine"


def test_a_parser_that_is_killed_from_outside_is_no_fault_of_the_document(
    faulty: SandboxedParser, tmp_path: Path
) -> None:
    with pytest.raises(ParserKilledError, match="SIGKILL") as raised:
        faulty.parse(write(tmp_path, "kill"))
    assert raised.value.category is FailureCategory.TRANSIENT
    assert faulty.parse(write(tmp_path, "fine")).text == "fine"


def test_an_error_that_nobody_foresaw_is_a_failure_with_its_traceback(
    faulty: SandboxedParser, tmp_path: Path
) -> None:
    with pytest.raises(ParseFailedError, match="KeyError: 'what no one foresaw'") as raised:
        faulty.parse(write(tmp_path, "raise"))

    assert "in faulty" in raised.value.__notes__[0]


def test_what_a_library_prints_reaches_nobody(
    faulty: SandboxedParser, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert faulty.parse(write(tmp_path, "print")).text == "print"
    assert capfd.readouterr() == ("", "")


def test_the_kill_reaches_the_processes_that_the_parser_started(
    faulty: SandboxedParser, tmp_path: Path
) -> None:
    with pytest.raises(ParserTimeoutError):
        faulty.parse(write(tmp_path, "fork"))

    assert wait_until(lambda: children() == [])


def test_the_parser_sees_no_secrets(
    faulty: SandboxedParser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__TOKEN", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")

    seen = faulty.parse(write(tmp_path, "environment")).text

    names = {line.partition("=")[0] for line in seen.split("\n")}
    assert "hunter2" not in seen
    assert names <= {"PATH", "TZ", "TESSDATA_PREFIX", "LD_LIBRARY_PATH", "LANG", "HOME", "TMPDIR",
                     "PYTHONPATH", "MALLOC_ARENA_MAX", "LC_CTYPE"}  # fmt: skip


def test_a_module_in_the_working_directory_is_not_imported(
    parser: SandboxedParser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blake3.py").write_text("raise SystemExit('imported from the documents')")
    monkeypatch.chdir(tmp_path)

    assert parser.parse(write(tmp_path, "fine")).text == "fine"


def test_a_text_over_the_output_limit_is_refused(store: ParsedStore, tmp_path: Path) -> None:
    with (
        SandboxedParser(settings(max_output_mb=1), store) as parser,
        pytest.raises(LimitExceededError, match="text is longer than 1 MB"),
    ):
        parser.parse(write(tmp_path, "long " * 300_000))


def test_a_process_is_replaced_after_so_many_documents(store: ParsedStore, tmp_path: Path) -> None:
    seen: set[int] = set()
    with SandboxedParser(settings(recycle_after=2), store) as parser:
        for number in range(6):
            parser.parse(write(tmp_path, f"text{number}"))
            seen.update(process.pid for process in children())

    assert len(seen) == 3


def test_a_process_that_has_grown_is_replaced(store: ParsedStore, tmp_path: Path) -> None:
    with SandboxedParser(settings(recycle_mb=64), store) as parser:
        parser.parse(write(tmp_path, "words " * 12_000_000))

        assert children() == []
        assert parser.parse(write(tmp_path, "fine")).text == "fine"


def test_a_process_that_died_while_idle_costs_no_document(
    parser: SandboxedParser, tmp_path: Path
) -> None:
    parser.parse(write(tmp_path, "one"))
    for process in children():
        process.kill()
        process.wait()

    assert parser.parse(write(tmp_path, "two")).text == "two"


def test_the_thread_that_parsed_first_may_end(parser: SandboxedParser, tmp_path: Path) -> None:
    thread = threading.Thread(target=parser.parse, args=(write(tmp_path, "one"),))
    thread.start()
    thread.join()
    (first,) = children()

    assert parser.parse(write(tmp_path, "two")).text == "two"
    assert [process.pid for process in children()] == [first.pid]


def test_ctrl_c_in_the_terminal_is_not_for_the_child(
    parser: SandboxedParser, tmp_path: Path
) -> None:
    parser.parse(write(tmp_path, "one"))
    (child,) = children()

    assert os.getpgid(child.pid) != os.getpgid(0)
    assert os.getsid(child.pid) != os.getsid(0)


def test_closing_leaves_no_process_and_no_files(store: ParsedStore, tmp_path: Path) -> None:
    parser = SandboxedParser(settings(), store)
    parser.parse(write(tmp_path, "one"))
    assert children()

    parser.close()
    parser.close()

    assert children() == []
    assert scratch(parser) == []


def test_a_forgotten_parser_ends_its_process(store: ParsedStore, tmp_path: Path) -> None:
    parser = SandboxedParser(settings(), store)
    parser.parse(write(tmp_path, "one"))

    del parser
    gc.collect()

    assert wait_until(lambda: children() == [])


OWNER = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    from tests.integration.test_sandbox import FAULTY, document, settings
    from lexigram_ray.ingestion.parsed_store import ParsedStore
    from lexigram_ray.ingestion.sandbox import SandboxedParser

    parser = SandboxedParser(
        settings(), ParsedStore(Path(sys.argv[1])), command=(sys.executable, "-P", "-c", FAULTY)
    )
    parser.parse(document(Path(sys.argv[2])))
""")


def test_the_child_dies_with_its_killed_owner_and_its_files_go_at_the_next_start(
    store: ParsedStore, tmp_path: Path
) -> None:
    spin = Path(write(tmp_path, "spin").path)
    root = Path(__file__).parents[2]
    owner = subprocess.Popen([sys.executable, "-c", OWNER, store.root, spin, root])
    process = psutil.Process(owner.pid)
    assert wait_until(lambda: bool(process.children()), 30)
    (child,) = process.children()
    assert wait_until(lambda: child.cpu_times().user > 0.5, 30)

    owner.send_signal(signal.SIGKILL)
    owner.wait()

    assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert list((store.root / "tmp").iterdir())
    with SandboxedParser(settings(), store) as parser:
        parser.parse(write(tmp_path, "fine"))
    assert scratch(parser) == []


def test_parsers_side_by_side_share_a_store_and_leave_each_others_files(
    store: ParsedStore, tmp_path: Path
) -> None:
    with SandboxedParser(settings(), store) as one, SandboxedParser(settings(), store) as two:
        one.parse(write(tmp_path, "first"))
        two.parse(write(tmp_path, "second"))

        assert one.parse(write(tmp_path, "third")).text == "third"
        assert len([path for path in scratch(one) if path.is_dir()]) == 2


def test_a_parser_that_cannot_start_says_so(store: ParsedStore, tmp_path: Path) -> None:
    with (
        SandboxedParser(settings(), store, command=(sys.executable, "-c", "1/0")) as parser,
        pytest.raises(ParserStartError, match="does not start: ZeroDivisionError"),
    ):
        parser.parse(write(tmp_path, "one"))


@pytest.fixture
def slow_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a process only when it has ended, as on a machine under load."""
    ask = sandbox._Child.ask

    def ask_late(child: sandbox._Child, message: frames.Message, timeout: float) -> frames.Message:
        child._process.wait(timeout)
        return ask(child, message, timeout)

    monkeypatch.setattr(sandbox._Child, "ask", ask_late)


@pytest.mark.usefixtures("slow_to_ask")
def test_a_parser_that_ended_before_it_was_asked_anything_never_started(
    store: ParsedStore, tmp_path: Path
) -> None:
    one = write(tmp_path, "one")
    open_before = psutil.Process().num_fds()

    with SandboxedParser(settings(), store, command=("/bin/false",)) as parser:
        with pytest.raises(ParserStartError, match="does not start: without a word"):
            parser.parse(one)

        assert scratch(parser) == []
    assert psutil.Process().num_fds() == open_before


@pytest.mark.usefixtures("slow_to_ask")
def test_a_forgotten_process_that_ended_before_it_was_asked_is_cleared_away_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: raised.append(str(hook.exc_value)))
    child = sandbox._Child(("/bin/false",), ScratchFolder(tmp_path))
    with pytest.raises(BrokenPipeError):
        child.ask({}, 10)

    del child
    gc.collect()

    assert raised == []
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_unseen_just_before_a_document_is_not_held_against_it(
    parser: SandboxedParser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser.parse(write(tmp_path, "one"))
    for process in children():
        process.kill()
        process.wait()
    looks = iter([False])
    monkeypatch.setattr(sandbox._Child, "is_gone", lambda _child: next(looks))

    assert parser.parse(write(tmp_path, "two")).text == "two"


def test_a_parser_that_answers_nonsense_never_started(store: ParsedStore, tmp_path: Path) -> None:
    nonsense = ("sh", "-c", r"printf '\000\000\000\001x'; exec sleep 60")
    with (
        SandboxedParser(settings(), store, command=nonsense) as parser,
        pytest.raises(ParserStartError, match="does not start"),
    ):
        parser.parse(write(tmp_path, "one"))


def test_a_store_that_cannot_be_written_is_no_fault_of_the_document(tmp_path: Path) -> None:
    store = ParsedStore(Path("/dev/null/parsed"))

    with SandboxedParser(settings(), store) as parser, pytest.raises(ParserStartError):
        parser.parse(write(tmp_path, "one"))


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_process_that_the_system_refuses_leaves_nothing_behind(
    store: ParsedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    one = write(tmp_path, "one")
    with SandboxedParser(settings(), store) as parser:
        open_before = psutil.Process().num_fds()
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", refuse)
            with pytest.raises(ParserStartError, match=os.strerror(number)):
                parser.parse(one)

        assert scratch(parser) == []
        assert psutil.Process().num_fds() == open_before
        assert parser.parse(one).text == "one"


def test_an_interpreter_that_is_gone_is_said_to_be(store: ParsedStore, tmp_path: Path) -> None:
    with SandboxedParser(settings(), store, command=("/does/not/exist",)) as parser:
        with pytest.raises(ParserStartError, match="No such file"):
            parser.parse(write(tmp_path, "one"))

        assert scratch(parser) == []


def test_a_parser_that_closes_its_pipe_but_does_not_end_is_killed(
    faulty: SandboxedParser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_EXIT_SECONDS", 0.2)

    with pytest.raises(ParserDiedError, match="closed its pipe without ending"):
        faulty.parse(write(tmp_path, "mute"))

    assert children() == []
    assert faulty.parse(write(tmp_path, "fine")).text == "fine"
