"""Our own command, in processes of its own, on a state directory of its own."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.children import ChildFailed, ChildRun, run_child

PROGRAM = (sys.executable, "-m", "lexigram_ray")
BULK = {"LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "0"}
LONGEST_SECONDS = 1800
TORCH, OPENVINO = (re.compile(rf"\|\s+{name}\W*$", re.MULTILINE) for name in ("torch", "openvino"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """How one `embed` ended.

    Attributes:
        report: The object that `--json` printed.
        phases: Seconds into the job at which each phase was first seen.
        run: The process.
    """

    report: dict[str, Any]
    phases: dict[str, float]
    run: ChildRun


def embed(file: Path, collection: str, state: Path, *, bulk: bool) -> Embedded:
    """Run `lexigram-ray embed FILE`.

    Args:
        bulk: Whether it goes through Ray Data however little there is to do.

    Raises:
        ChildFailed: It did not end well, or not all rows were embedded.
    """
    run = run_child(
        [*PROGRAM, "embed", file, "--collection", collection, "--json", "--json-progress"],
        env={"LEXIGRAM_RAY_STATE": str(state)} | (BULK if bulk else {}),
        timeout=LONGEST_SECONDS,
    )
    report = run.answer
    if report["status"] != "completed" or report["texts"]["failed"]:
        raise ChildFailed(f"it ended {report['status']}: {report['texts']}")
    return Embedded(report=report, phases=_phases(run.stderr), run=run)


def search(question: str, collection: str, state: Path) -> ChildRun:
    """Run `lexigram-ray search`, from a cold command line."""
    return run_child(_search(question, collection), env=_at(state), timeout=LONGEST_SECONDS)


def search_imports_torch(question: str, collection: str, state: Path) -> bool:
    """Whether the same search imports torch: Python itself tells each import."""
    command = _search(question, collection, "-X", "importtime")
    imports = run_child(command, env=_at(state), timeout=LONGEST_SECONDS).stderr
    if not OPENVINO.search(imports):
        raise ChildFailed("Python told nothing of the imports of a search")
    return bool(TORCH.search(imports))


def _search(question: str, collection: str, *python: str) -> Sequence[str]:
    program = (sys.executable, *python, *PROGRAM[1:])
    return (*program, "search", question, "--collection", collection, "--json")


def _at(state: Path) -> dict[str, str]:
    return {"LEXIGRAM_RAY_STATE": str(state)}


def _phases(stderr: str) -> dict[str, float]:
    first: dict[str, float] = {}
    for line in stderr.splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # something else that is said beside the progress
        if isinstance(record, dict) and record.get("message_type") == "status":
            first.setdefault(record["phase"], record["seconds_elapsed"])
    return first
