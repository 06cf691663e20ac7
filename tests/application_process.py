"""A program that uses the workers' module where the framework is not installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from tests.command_line import REPOSITORY, clean_environment

PRELUDE = """
import asyncio, sys, tempfile, threading, time
from pathlib import Path
sys.modules["lexigram"] = None
from tests.small_container import SmallContainer
from lexigram_ray.workers.module import WorkersModule
from lexigram_ray.workers.protocols import EmbeddingClientProtocol
from lexigram_ray.workers import (
    BatchEmbeddingWorker, DeadLetterQueueWorker, DocumentIngestionWorker, MaintenanceWorker,
)
ENDS = ("completed", "failed")
"""


def in_a_process(code: str, cwd: Path, **environment: str) -> str:
    """Run a program that finds no framework, whatever is installed; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
        env=clean_environment(PYTHONPATH=str(REPOSITORY), **environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
