"""What users see: JSON, tables, numbers, and when there is colour."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

ANSI = {"bold": "1", "dim": "2", "red": "1;31", "yellow": "33", "green": "32", "cyan": "36"}
SHOW_CURSOR = b"\x1b[?25h\n"
PIPE_WIDTH = 100_000
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
BYTE_UNITS = ("kB", "MB", "GB", "TB", "PB")


def write_json(result: Mapping[str, object]) -> None:
    """Print one object on stdout: one line in a pipe, indented for a reader."""
    indent = 2 if is_terminal(sys.stdout) else None
    write_line(sys.stdout, json.dumps(result, ensure_ascii=False, indent=indent))


def write_json_line(record: Mapping[str, object], stream: TextIO) -> None:
    """Write one object of `--json-progress`."""
    write_line(stream, json.dumps(record, ensure_ascii=False))


def write_line(stream: TextIO, line: str) -> None:
    """Print a line that the stream's encoding cannot stop, and flush it."""
    data = f"{line}\n".encode("utf-8", errors="backslashreplace")
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        stream.write(data.decode())
    else:
        stream.flush()
        buffer.write(data)
    stream.flush()


def restore_terminal() -> None:
    """Show the cursor again, without any lock or buffer: the process is about to end at once.

    During a run, descriptor 2 leads elsewhere: `sys.stderr` knows the terminal's (`cli.stray`).
    """
    # A stream without one, as `--json-progress` puts in place, has hidden no cursor.
    with contextlib.suppress(OSError, ValueError):
        terminal = sys.stderr.fileno()
        if os.isatty(terminal):
            os.write(terminal, SHOW_CURSOR)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads the stream."""
    return not stream.closed and stream.isatty()


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Decide on colour: `NO_COLOR`, then `CLICOLOR_FORCE`, then whether it is a terminal."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    if environ.get("CLICOLOR") == "0" or environ.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return `text` in one of the styles of `ANSI`, or as it is where there is no colour."""
    return f"\x1b[{ANSI[style]}m{text}\x1b[0m" if wants_colour(stream) else text


def say(text: str, *, label: str = "", style: str = "bold") -> None:
    """Print a message for people on stderr, such as `note: nothing was pruned`."""
    prefix = paint(f"{label}:", style, sys.stderr) + " " if label else ""
    write_line(sys.stderr, prefix + text)


def say_note(text: str) -> None:
    """Print what is waited for, or amiss, while a command goes on."""
    say(printable(text), label="note")


def say_stray(line: str) -> None:
    """Print what a library or a child process has printed (`cli.stray`)."""
    say(printable(line), label="output", style="dim")


def console(stream: TextIO, *, make: type[Console] | None = None) -> Console:
    """Return a rich console that follows `wants_colour`; in a pipe, lines are never wrapped.

    One for `sys.stderr` goes on with the stream that stands there later: during a run, another.
    """
    from rich.console import Console

    colour, is_stderr = wants_colour(stream), stream is sys.stderr
    return (make or Console)(
        file=None if is_stderr else stream,
        stderr=is_stderr,
        force_terminal=colour or is_terminal(stream),
        color_system="auto" if is_terminal(stream) and colour else ("standard" if colour else None),
        no_color=not colour,
        width=None if is_terminal(stream) else PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not is_terminal(stream),
    )


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print columns on stdout, folded to a terminal's width, one line a row in a pipe."""
    from rich.table import Table

    terminal = is_terminal(sys.stdout)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=not terminal)
    for row in rows:
        table.add_row(*(printable(cell) if isinstance(cell, str) else cell for cell in row))
    console(sys.stdout).print(table)


def print_tracebacks(failures: Sequence[tuple[str, str | None]], noun: str) -> None:
    """Print on stdout the tracebacks that were kept, or that none was.

    Args:
        failures: What each is called, such as `attempt 2`, and its traceback, if there is one.
        noun: What they are, such as `attempt`.
    """
    kept = [(name, traceback) for name, traceback in failures if traceback]
    for name, traceback in kept:
        write_line(sys.stdout, "")
        write_line(sys.stdout, f"traceback of {name}:")
        for line in traceback.splitlines():
            write_line(sys.stdout, f"  {printable(line)}")
    if not kept:
        write_line(sys.stdout, "")
        write_line(sys.stdout, f"no traceback was kept of {count(len(failures), noun)}")


def printable(text: str) -> str:
    r"""Show control characters as `\x1b`: a file's name or text must not steer the terminal."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def shortened(text: str, at_most: int) -> str:
    """Return a text, or its beginning with an ellipsis where it has more characters than that."""
    return text if len(text) <= at_most else f"{text[: at_most - 1].rstrip()}…"


def count(number: int, noun: str) -> str:
    """Return `1 document`, `1,234 documents`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Return `0.4 s`, `45 s`, `2 min 13 s` or `3 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def byte_size(number: int) -> str:
    """Return `512 B`, `1.5 MB` (powers of 1,000)."""
    if number < 1000:
        return f"{number} B"
    power = min(len(BYTE_UNITS), (len(str(number)) - 1) // 3)
    return f"{number / 1000**power:.1f} {BYTE_UNITS[power - 1]}"
