"""How fast the model is on this machine: what only has to take a while is less where it is slow."""

from __future__ import annotations

from lexigram_ray.embedding.devices import cpu_has_bf16

SPEED = 1.0 if cpu_has_bf16() else 0.5
"""Of the model here, beside one that computes in bf16."""


def scaled(amount: int) -> int:
    """Return how much takes as long here as `amount` where the model is fast."""
    return int(amount * SPEED)
