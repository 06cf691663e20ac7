"""One run of the command line: its global options, its configuration, its one answer."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from lexigram_ray.cli.output import write_json

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig

PROGRAM = "lexigram-ray"
OPTION_ENV_PREFIX = "LEXIGRAM_RAY_"
_COMMAND = re.compile(rf"(?<![\w/.-]){PROGRAM} (?=[a-z])")
"""Where a command begins within a text; what follows it is the command's name."""

TRUE_WORDS = frozenset({"1", "true", "t", "yes", "y", "on"})


def env(option: str) -> str:
    """Return the environment variable of an option: `LEXIGRAM_RAY_CHUNK_SIZE` of `chunk-size`."""
    return OPTION_ENV_PREFIX + option.upper().replace("-", "_")


StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        envvar=env("state"),
        help="Where collections and jobs are kept.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar=env("config"),
        help="Configuration instead of ./application.yaml.",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", envvar=env("json"), help="Print one JSON object on stdout, and nothing else."
    ),
]
DebugOption = Annotated[
    bool, typer.Option("--debug", envvar=env("debug"), help="Show the traceback of an error.")
]


@dataclass(slots=True, kw_only=True)
class Invocation:
    """What every command knows of the run that it is part of.

    Attributes:
        argv: The arguments as given, without the program.
        json_lines: Whether stderr holds JSON Lines and nothing else.
        answered: Whether the result, or the one JSON object, has been printed.
    """

    argv: tuple[str, ...]
    json: bool = False
    json_lines: bool = False
    debug: bool = False
    state: Path | None = None
    config_file: Path | None = None
    answered: bool = False

    @classmethod
    def begin(cls, argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Self:
        """Read from the bare arguments what an error needs even when they cannot be parsed."""
        options = argv[: argv.index("--")] if "--" in argv else argv
        return cls(
            argv=tuple(argv),
            json="--json" in options or _is_true(environ.get(env("json"))),
            json_lines="--json-progress" in options or _is_true(environ.get(env("json-progress"))),
            debug="--debug" in options or _is_true(environ.get(env("debug"))),
        )

    @classmethod
    def of(
        cls, ctx: typer.Context, state: Path | None, config: Path | None, *, json: bool, debug: bool
    ) -> Invocation:
        """Return the run that `ctx` belongs to, with a command's global options laid over it."""
        invocation: Invocation = ctx.obj
        invocation.state = state or invocation.state
        invocation.config_file = config or invocation.config_file
        invocation.json = json or invocation.json
        invocation.debug = debug or invocation.debug
        return invocation

    def load_config(self, **overrides: object) -> WorkersConfig:
        """Read the configuration with this run's options over it.

        Args:
            overrides: Values over file and environment; a section is a dictionary of its fields.

        Raises:
            ConfigError: A key is unknown or a value is wrong.
        """
        from lexigram_ray.core.config import load_config

        if self.state is not None:
            overrides["state_dir"] = self.state
        return load_config(self.config_file, **overrides)

    def answer(self, result: Mapping[str, object]) -> None:
        """Print the one object of `--json`."""
        write_json(result)
        self.answered = True

    def command_line(self) -> str:
        """Return the line that runs the same command again, quoted for a shell."""
        return shlex.join([*_program(), *self.argv])

    def suggest(self, *arguments: str) -> str:
        """Return another command's line that looks at the same state, quoted for a shell."""
        return shlex.join([*_program(), *arguments, *self._place()])

    def placed(self, text: str) -> str:
        """Return a text whose commands, `lexigram-ray NAME ...`, look at the same state."""
        place = self._place()
        if not place:
            return text
        started = shlex.join([PROGRAM, *place])
        return _COMMAND.sub(lambda _: f"{started} ", text)

    def _place(self) -> list[str]:
        where = ["--state", str(self.state)] if self.state is not None else []
        config = ["--config", str(self.config_file)] if self.config_file is not None else []
        return [*where, *config]


def _program() -> list[str]:
    started = sys.argv[0]
    if Path(started).name == "__main__.py":
        return [sys.executable, "-m", "lexigram_ray"]
    return [started] if Path(started).name == PROGRAM else [PROGRAM]


def _is_true(value: str | None) -> bool:
    return value is not None and value.strip().lower() in TRUE_WORDS
