"""Results whose fields can be written as JSON as they are."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast


class JsonReady:
    """For dataclasses."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return {each.name: getattr(self, each.name) for each in fields(cast("Any", self))}
