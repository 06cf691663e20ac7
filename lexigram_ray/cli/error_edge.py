"""The one place where an error becomes a message, a `try:` line and an exit code."""

from __future__ import annotations

import errno
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import typer

from lexigram_ray.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from lexigram_ray.cli.invocation import PROGRAM, Invocation
from lexigram_ray.cli.output import printable, say, write_json_line
from lexigram_ray.core.errors import ConfigError, DiskFullError, WorkerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An error as users see it.

    Attributes:
        message: What happened, and why.
        hint: The way out.
    """

    code: str
    message: str
    hint: str
    exit_code: int

    def to_dict(self) -> dict[str, object]:
        """Return the object that `--json` prints instead of a result."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


def report(error: BaseException, invocation: Invocation) -> int:
    """Say what went wrong, on stderr and with `--json` on stdout too, and return the exit code."""
    explanation = explain(error, invocation)
    if invocation.debug:
        traceback.print_exception(error, file=sys.stderr)
    if invocation.json_lines:
        _write_error_line(explanation)
    else:
        say(printable(explanation.message), label="error", style="red")
        say(explanation.hint, label="try", style="cyan")
    if invocation.json and not invocation.answered:
        invocation.answer(explanation.to_dict())
    return explanation.exit_code


def explain(error: BaseException, invocation: Invocation) -> Explanation:
    """Translate any error into words; one that nobody foresaw is written to a log first."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        full = DiskFullError(
            f"no space left on the device: {error.filename or error.strerror}",
            hint="free some space, then run the same command again: it goes on from there",
        )
        return explain(full, invocation)
    if isinstance(error, WorkerError):
        return Explanation(
            code=error.code,
            message=error.message,
            hint=error.hint or _default_hint(error, invocation),
            exit_code=error.exit_code,
        )
    if isinstance(error, typer.TyperException):
        return _explain_usage(error)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return Explanation(
            code="interrupted",
            message="interrupted",
            hint=invocation.command_line(),
            exit_code=EXIT_INTERRUPTED,
        )
    return _explain_unforeseen(error, invocation)


def _write_error_line(explanation: Explanation) -> None:
    record = {"message_type": "error", **explanation.to_dict(), "during": "run", "item": ""}
    write_json_line(record, sys.stderr)


def _default_hint(error: WorkerError, invocation: Invocation) -> str:
    if isinstance(error, ConfigError) or error.exit_code == EXIT_USAGE:
        return f"{PROGRAM} --help"
    if error.exit_code == EXIT_INTERRUPTED:
        return invocation.command_line()
    return f"{invocation.suggest('doctor')}, or the same command with --debug"


def _explain_usage(error: typer.TyperException) -> Explanation:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else PROGRAM
    message = error.format_message().strip()
    return Explanation(
        code="usage",
        message=message[:1].lower() + message[1:],
        hint=f"{command} --help",
        exit_code=error.exit_code,
    )


def _explain_unforeseen(error: BaseException, invocation: Invocation) -> Explanation:
    name = type(error).__name__
    log = _write_log(error, invocation)
    return Explanation(
        code="unexpected",
        message=f"unexpected {name}: {error}" if str(error) else f"unexpected {name}",
        hint=f"the traceback in {log}, or the same command with --debug",
        exit_code=EXIT_FAILED,
    )


def _write_log(error: BaseException, invocation: Invocation) -> Path:
    text = f"{invocation.command_line()}\n{''.join(traceback.format_exception(error))}"
    name = f"error-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.log"
    try:
        folder = invocation.load_config().paths.logs
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / name
        log.write_text(text, encoding="utf-8", errors="backslashreplace")
    except Exception:  # noqa: BLE001 - the configuration itself may be what is wrong
        log = Path(tempfile.gettempdir()) / f"{PROGRAM}-{name}"
        log.write_text(text, encoding="utf-8", errors="backslashreplace")
    return log
