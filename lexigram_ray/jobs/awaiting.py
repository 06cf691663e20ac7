"""Calling objects of other code, which may be plain or asynchronous, from an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["call", "is_asynchronous", "parameters_of", "resolved"]


async def resolved(value: Any) -> Any:
    """Return a value, or what it gives when it is awaited."""
    return await value if inspect.isawaitable(value) else value


async def call(function: Callable[..., Any], *args: object, **kwargs: object) -> Any:
    """Call a function without holding up the event loop.

    A coroutine function is awaited. Any other one runs in a thread of its own, whose context is
    the caller's; what it returns is awaited if it can be. A caller that is cancelled goes on at
    once; a thread cannot be ended, but keeps no process from ending.

    Raises:
        Exception: Whatever the function raised.
    """
    if is_asynchronous(function):
        return await resolved(function(*args, **kwargs))
    return await resolved(await _in_a_thread(lambda: function(*args, **kwargs)))


def is_asynchronous(function: object) -> bool:
    """Whether calling it only makes a coroutine: of functions, methods and callable objects."""
    method = getattr(type(function), "__call__", None)  # noqa: B004 - the method itself is wanted
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Return a function's parameters by name; None where it does not say."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


def _in_a_thread(function: Callable[[], object]) -> asyncio.Future[object]:
    # Not the loop's own threads: `asyncio.run` waits at its end for those, however stuck.
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: object, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result: object = None
        failed: BaseException | None = None
        try:
            result = context.run(function)
        except StopIteration as error:
            # A future takes none.
            failed = RuntimeError(f"{error!r} was raised")
            failed.__cause__ = error
        except BaseException as error:  # noqa: BLE001 - it is raised again where the call was made
            failed = error
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name="foreign call", daemon=True).start()
    return future
