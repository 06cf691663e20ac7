"""The name of everything that changes a model's vectors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from lexigram_ray.core.types import ModelSpec

# Raised when this package itself begins to make other vectors from the same model: farther apart
# than the precision's own rounding, which another processor or OpenVINO changes as well.
ENGINE_VERSION = 1


def fingerprint(spec: ModelSpec) -> str:
    """Return 32 hex digits over every field of `spec` and the version of the engine."""
    described = json.dumps({"engine": ENGINE_VERSION, **asdict(spec)}, sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:32]
