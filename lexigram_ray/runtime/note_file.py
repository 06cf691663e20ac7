"""Notes in the state directory, by a command for those after it: read back, or refused.

Free of Ray, so that a command that needs no cluster does not pay for looking.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lexigram_ray.core.errors import UsageError

T = TypeVar("T")


def read_note(
    path: Path, made_of: Callable[[dict[str, Any]], T], *, what: str, by: str
) -> T | None:
    """Return what is noted; None where nothing is.

    Args:
        made_of: Returns it from the object in the file.
        what: It is a note of that.
        by: The command that writes it.

    Raises:
        UsageError: The note cannot be read.
    """
    try:
        return made_of(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"{path} is no note of a {what}: {error}",
            hint=f"remove that file, then run `lexigram-ray {by}` again",
        ) from error
