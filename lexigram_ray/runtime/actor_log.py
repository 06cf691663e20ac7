"""The log of our own actors: lines with time, level and job in the files that Ray keeps."""

from __future__ import annotations

import logging
import sys

from lexigram_ray.core.config import LoggingSettings
from lexigram_ray.core.job_logging import JobFilter, formatter
from lexigram_ray.jobs.redaction import redacted


def log_to_worker_file(settings: LoggingSettings) -> None:
    """Send this process's own log to stderr, which Ray writes to a file and shows by actor."""
    logger = logging.getLogger("lexigram_ray")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.addFilter(JobFilter())
        logger.addHandler(handler)
    for handler in logger.handlers:
        handler.setFormatter(formatter(settings.format, redacted))
    logger.setLevel(settings.level.upper())
    logger.propagate = False
