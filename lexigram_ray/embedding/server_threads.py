"""Requests at once, in threads that no one has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def run_at_once(
    work: Callable[[T], None], items: Sequence[T], *, threads: int, stopped: threading.Event
) -> None:
    """Do `work` for every item, and return when all are done.

    After the first failure `stopped` is set, and the work under way is waited for. A caller that is
    interrupted (Ctrl-C) waits for nothing, and neither does the interpreter's end: the threads are
    daemons, which those of `concurrent.futures` are not.

    Args:
        work: Ends early, with an error, once `stopped` is set.
        items: In the order in which they are begun.
        threads: The most of them at once.
        stopped: Tells `work` that nobody wants it any more.

    Raises:
        Exception: What `work` raised first.
    """
    todo: SimpleQueue[T] = SimpleQueue()
    for item in items:
        todo.put(item)
    ended: SimpleQueue[None] = SimpleQueue()
    failures: list[BaseException] = []

    def take_turns() -> None:
        try:
            while not failures and (item := _next(todo)) is not None:
                work(item[0])
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)
            stopped.set()
        finally:
            ended.put(None)

    try:
        started = min(threads, len(items))
        for _ in range(started):
            threading.Thread(target=take_turns, name="embedding-server", daemon=True).start()
        for _ in range(started):
            ended.get()
    except BaseException:
        stopped.set()
        raise
    if failures:
        raise failures[0]


def _next(todo: SimpleQueue[T]) -> tuple[T] | None:
    try:
        return (todo.get_nowait(),)
    except Empty:
        return None
