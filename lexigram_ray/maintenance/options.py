"""A run's options over the duty's section of the configuration."""

from __future__ import annotations

import difflib
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from lexigram_ray.core.errors import UsageError
from lexigram_ray.maintenance.duty import DutyContext

DRY_RUN = "dry_run"
INVALID_OPTION = "invalid_option"
"""Code of the error that refuses an option of a run."""

S = TypeVar("S", bound=BaseModel)


def settings_of(context: DutyContext, configured: S) -> S:
    """Return a duty's settings, with the options of its run over them.

    Args:
        context: Whose options are to count; `dry_run` is everybody's, and no setting.
        configured: The duty's section, such as `config.maintenance.cache_cleanup`.

    Raises:
        UsageError: There is no such option, or it cannot have this value.
    """
    given = {name: value for name, value in context.options.items() if name != DRY_RUN}
    known = sorted(type(configured).model_fields)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise UsageError(
                f"there is no option {name!r} here",
                hint=f"did you mean {near[0]}?" if near else f"options: {', '.join(known)}",
                code=INVALID_OPTION,
            )
    try:
        return type(configured).model_validate(configured.model_dump() | given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"option {where}: {first['msg']}, got {first['input']!r}",
            hint="lexigram-ray maintenance run NAME --option name=value",
            code=INVALID_OPTION,
        ) from error
