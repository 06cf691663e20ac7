"""The log of our own actors: lines with time and level in the files that Ray keeps of a worker."""

from __future__ import annotations

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(message)s"


def log_to_worker_file() -> None:
    """Send this process's own log to stderr, which Ray writes to a file and shows by actor."""
    logger = logging.getLogger("lexigram_ray")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(FORMAT))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
