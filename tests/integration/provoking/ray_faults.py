"""Ray's errors, from tasks and actors that end badly on a cluster that runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import ray

from tests.integration.provoking.catalog import (
    INVALID_INPUT,
    PERMANENT,
    TRANSIENT,
    UNKNOWN,
    cases,
)

MOST_ANSWERS = 400


@ray.remote(max_retries=0, num_cpus=0.1)
def _raise(error: Exception) -> None:
    raise error


@ray.remote(max_retries=0, num_cpus=0.1)
def _raise_from() -> None:
    try:
        raise ConnectionResetError("peer")  # noqa: TRY301 - the cause is the point
    except ConnectionResetError as error:
        raise RuntimeError("the batch failed") from error


@ray.remote(max_retries=0, num_cpus=0.1)
def _end() -> None:
    os._exit(1)


@ray.remote(max_retries=0, num_cpus=0.1)
def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@ray.remote(max_retries=0, num_cpus=0.1)
def _sleep(seconds: float) -> None:
    time.sleep(seconds)


@ray.remote(max_restarts=0, num_cpus=0.1)
class _Actor:
    def __init__(self, error: Exception | None = None) -> None:
        if error is not None:
            raise error

    def ok(self) -> bool:
        return True

    def end(self) -> None:
        os._exit(1)


def _killed_actor(_: Path) -> object:
    actor = _Actor.remote()
    ray.get(actor.ok.remote())
    ray.kill(actor)
    # Which does not wait for its end.
    for _ in range(MOST_ANSWERS):
        ray.get(actor.ok.remote())
        time.sleep(0.05)
    return actor


@ray.remote(max_retries=0, num_cpus=0.1)
def _begin_and_sleep(begun: str, seconds: float) -> None:
    # Of a test run in the background its children ignore it, and that is how a task is told.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Path(begun).touch()
    time.sleep(seconds)


def _cancelled(folder: Path) -> object:
    # On its way to a worker, a task is not always found by those who cancel it.
    begun = folder / "begun"
    reference = _begin_and_sleep.remote(str(begun), 20)
    while not begun.exists():
        time.sleep(0.05)
    ray.cancel(reference, force=False)
    return ray.get(reference)


def _timeout(_: Path) -> object:
    reference = _sleep.remote(20)
    try:
        return ray.get(reference, timeout=0.1)
    finally:
        ray.cancel(reference, force=True)


def _out_of_memory(_: Path) -> object:
    # By hand: to have the real one, this machine's memory would have to be used up.
    said = "Task was killed due to the node running low on memory."
    return ray.get(_raise.remote(ray.exceptions.OutOfMemoryError(said)))


def _failing_start(_: Path) -> object:
    return ray.get(_Actor.remote(ImportError("No module named 'x'")).ok.remote())


CASES = [
    *cases(
        TRANSIENT,
        ray_worker_ended=lambda _: ray.get(_end.remote()),
        ray_worker_killed=lambda _: ray.get(_kill.remote()),
        ray_actor_killed=_killed_actor,
        ray_actor_ended=lambda _: ray.get(_Actor.remote().end.remote()),
        ray_timeout=_timeout,
        ray_out_of_memory=_out_of_memory,
        ray_disk_full=lambda _: ray.get(_raise.remote(OSError(28, "No space left on device"))),
    ),
    *cases(
        TRANSIENT,
        says_nothing=True,
        ray_cancelled=_cancelled,
        ray_connection=lambda _: ray.get(_raise.remote(ConnectionError("gone"))),
        ray_cause=lambda _: ray.get(_raise_from.remote()),
    ),
    *cases(
        PERMANENT,
        ray_type_error=lambda _: ray.get(_raise.remote(TypeError("int is not iterable"))),
        ray_no_actor=lambda _: ray.get_actor("nobody"),
        ray_no_file=lambda _: ray.get(_raise.remote(FileNotFoundError(2, "No such file", "/a"))),
        ray_actor_import=_failing_start,
    ),
    *cases(
        INVALID_INPUT,
        ray_decode=lambda _: ray.get(_raise.remote(_decode_error())),
    ),
    *cases(UNKNOWN, ray_unknown=lambda _: ray.get(_raise.remote(KeyError("a")))),
]


def _decode_error() -> Exception:
    try:
        return ValueError(b"\xff".decode())
    except UnicodeDecodeError as error:
        return error
