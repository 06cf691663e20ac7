"""The command that is sent to a cluster: checked here, and written for the machine there."""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import typer

from lexigram_ray.cli.invocation import OPTION_ENV_PREFIX, PROGRAM
from lexigram_ray.core.errors import UsageError

COMMANDS = ("ingest", "embed")
STDIN = Path("-")
_HERE_ONLY = frozenset({"address", "config", "debug", "json", "no_wait", "state"})
"""Options whose variables of this machine say nothing about the cluster."""

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCommand:
    """A command as it was given, and what its options say.

    Attributes:
        name: `ingest` or `embed`.
        arguments: What follows the name.
        paths: Where it reads.
        given: The names of the options that stand in it.
        variables: Options that were set by variables of this machine's environment.
    """

    name: str
    arguments: tuple[str, ...]
    collection: str
    paths: tuple[Path, ...]
    json: bool
    json_progress: bool
    given: frozenset[str]
    variables: Mapping[str, str]

    def entrypoint(
        self, *, python: str, state: Path | None, config: Path | None, json: bool
    ) -> str:
        """Return the line that runs it on the cluster, quoted for a shell.

        Args:
            python: The interpreter there.
            state: The state directory, unless the command has its own.
            config: The configuration's file there, unless the command has its own.
            json: Whether it is to print one object, whatever the command says.
        """
        # A job knows its cluster, as `auto`: without an address it may do small work by itself.
        options = ["--address", "auto"]
        if state is not None and "state" not in self.given:
            options += ["--state", str(state)]
        if config is not None and "config" not in self.given:
            options += ["--config", str(config)]
        if json and "json" not in self.given:
            options += ["--json"]
        return shlex.join([python, "-m", "lexigram_ray", self.name, *options, *self.arguments])

    def check_paths(self, sent: Path | None) -> None:
        """Check that the paths can lead somewhere on the cluster.

        Args:
            sent: The folder, or the `.zip`, that goes along.

        Raises:
            UsageError: One cannot.
        """
        for path in self.paths:
            if _is_whole(path):
                continue
            if sent is None:
                raise UsageError(
                    f"{path} is a path in this folder, and the job does not run here",
                    hint=f"{path.absolute()}, if the cluster's nodes see it under that name; or "
                    "--working-dir . sends this folder along",
                )
            if sent.is_dir() and not (sent / path).exists():
                raise UsageError(
                    f"no {path} in {sent}, which goes along with the job",
                    hint="paths begin in --working-dir, or are whole ones of the cluster",
                )

    def new_id(self) -> str:
        """Return an id for a job that does it, which can be told from others' in a dashboard."""
        collection = _NOT_IN_AN_ID.sub("-", self.collection)
        return f"{self.name}-{collection}-{secrets.token_hex(4)}"


def remote_command(ctx: typer.Context, words: Sequence[str]) -> RemoteCommand:
    """Read the command that follows `submit`.

    Args:
        ctx: Of `submit`.

    Raises:
        UsageError: It cannot be done on a cluster.
        typer.TyperException: Its options are wrong.
    """
    name, *arguments = words
    if name not in COMMANDS:
        raise UsageError(
            f"{name} is no command that is submitted",
            hint=f"{PROGRAM} submit -- ingest PATH... --collection NAME; or embed FILE",
        )
    parent = ctx.find_root()
    command = parent.command.get_command(parent, name)  # type: ignore[attr-defined]
    inner = cast(typer.Context, command.make_context(name, list(arguments), parent=parent))
    given = _from(inner, "COMMANDLINE")
    _refuse_what_is_for_here(given)
    _refuse_relative_state(inner, given)
    paths = inner.params["paths"] if name == "ingest" else [inner.params["file"]]
    if STDIN in paths:
        raise UsageError(
            "texts from stdin do not reach a cluster",
            hint="write them to a file, and send its folder by --working-dir",
        )
    return RemoteCommand(
        name=name,
        arguments=tuple(arguments),
        collection=inner.params["collection"],
        paths=tuple(paths),
        json="json" in given and inner.params["json"],
        json_progress=inner.params["json_progress"],
        given=given,
        variables=_variables(inner),
    )


def _refuse_what_is_for_here(given: frozenset[str]) -> None:
    if "address" in given:
        raise UsageError(
            "--address of the command: a submitted job works on the cluster that it was sent to",
            hint=f"{PROGRAM} submit --address http://HOST:8265 -- ... chooses that",
        )
    if "no_wait" in given:
        raise UsageError(
            "--no-wait of the command would only record a job for `lexigram-ray up`",
            hint=f"{PROGRAM} submit --no-wait -- ... sends it and does not wait",
        )


def _refuse_relative_state(inner: typer.Context, given: frozenset[str]) -> None:
    state: Path | None = inner.params["state"]
    if "state" in given and state is not None and not _is_whole(state):
        raise UsageError(
            f"--state {state} is a path in this folder, and the job does not run here",
            hint=f"--state {state.absolute()}, if the cluster's nodes see it under that name",
        )


def _is_whole(path: Path) -> bool:
    return path.is_absolute() or str(path).startswith("~")


def _variables(inner: typer.Context) -> dict[str, str]:
    names = {
        OPTION_ENV_PREFIX + option.upper() for option in _from(inner, "ENVIRONMENT") - _HERE_ONLY
    }
    return {name: os.environ[name] for name in sorted(names & os.environ.keys())}


def _from(ctx: typer.Context, source: str) -> frozenset[str]:
    """Return the names of the parameters that came from `COMMANDLINE`, `ENVIRONMENT`..."""
    found = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return frozenset(
        name for name, each in found.items() if each is not None and each.name == source
    )
