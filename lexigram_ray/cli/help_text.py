"""A command's docstring as its help: blocks such as `Examples:` keep their lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable

_KEEP_LINES = "\b\n"


def help_of(command: Callable[..., object]) -> str:
    """Return a command's docstring, its blocks under a line that ends in `:` left as they are."""
    blocks = inspect.getdoc(command) or ""
    return "\n\n".join(
        _KEEP_LINES + block if block.partition("\n")[0].endswith(":") else block
        for block in blocks.split("\n\n")
    )
