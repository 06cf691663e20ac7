"""Where a program is deployed, and what of its configuration does not fit there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Literal

Severity = Literal["error", "warning"]


class Environment(StrEnum):
    """Where the program runs; what is a warning in one of them may be an error in another."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """Something in the configuration that does not fit the environment.

    Attributes:
        field: The setting, with dots, such as `store_url` or `embedding.model`.
        message: What is wrong with it.
        severity: `error`: do not go there with it; `warning`: know what it means.
        suggestion: What to do about it.
    """

    field: str
    message: str
    severity: Severity = "error"
    suggestion: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the four fields, ready for JSON."""
        return asdict(self)
