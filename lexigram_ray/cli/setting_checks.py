"""What `doctor` says of settings that do not fit where the program is deployed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from lexigram_ray.cli.checks import Check

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.environment import ConfigIssue

# These settings have a check of their own, which says more when all is well.
_CHECKED_AS = {
    "allowed_roots": "allowed roots",
    "embedding.model": "model",
    "state_dir": "file system",
}


def setting_checks(config: WorkersConfig, checks: Collection[Check]) -> Iterator[Check]:
    """Yield a check for each issue that none of the others has found yet, or one that all is well.

    Args:
        config: As `validate_for_environment` judges it.
        checks: Those that have been made.
    """
    environment = config.env or "development"
    told = {check.name for check in checks if check.status != "ok"}
    issues = config.validate_for_environment()
    for issue in issues:
        if _CHECKED_AS.get(issue.field) not in told:
            yield _check_of(issue)
    if not issues:
        yield Check(name="environment", status="ok", detail=f"{environment}: all settings fit")


def _check_of(issue: ConfigIssue) -> Check:
    return Check(
        name=issue.field,
        status="fail" if issue.severity == "error" else "warn",
        detail=issue.message,
        fix=issue.suggestion,
    )
