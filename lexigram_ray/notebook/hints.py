"""What a failed call tells a person at a prompt."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from lexigram_ray.core.errors import WorkerError


@contextmanager
def hints_shown() -> Generator[None]:
    """Put an error's way out below its traceback."""
    try:
        yield
    except WorkerError as error:
        if error.hint:
            error.add_note(f"try: {error.hint}")
        raise
