"""What the program's loggers and Python's warnings say, as messages of the command line."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager

OWN_LOGGER = "lexigram_ray"
STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


@contextmanager
def log_to(say: Callable[[str, str, str], None], *, debug: bool) -> Generator[None]:
    """Send log records to `say(text, label, style)`.

    Our own warnings are for the user; other packages' are noise until they are errors. With
    `debug` everything from INFO on is shown.
    """
    handler: logging.Handler = _SayingHandler(say)
    if not debug:
        handler.addFilter(_is_for_users)
        warnings.simplefilter("ignore")
    root, own = logging.getLogger(), logging.getLogger(OWN_LOGGER)
    ours: list[logging.Handler] = [handler]
    level_before = own.level
    own.setLevel(logging.INFO if debug else logging.WARNING)
    handlers_before, root.handlers = root.handlers, ours
    try:
        yield
    finally:
        root.handlers = handlers_before
        own.setLevel(level_before)


class _SayingHandler(logging.Handler):
    def __init__(self, say: Callable[[str, str, str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        label = record.levelname.lower()
        self._say(record.getMessage(), label, STYLES.get(record.levelno, "dim"))


def _is_for_users(record: logging.LogRecord) -> bool:
    own = record.name.partition(".")[0] == OWN_LOGGER
    return record.levelno >= (logging.WARNING if own else logging.ERROR)
