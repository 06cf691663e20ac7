"""How many floating-point operations an encoder needs: what a rate is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def forward_flops(config: Mapping[str, int], lengths: Iterable[int]) -> float:
    """Return the operations of one forward pass over texts, padding and embeddings not counted.

    A multiplication with its addition counts as two. Per layer and text of `n` tokens: four
    projections of the attention, two of the feed-forward block, and the two products of scores
    and values, which grow with `n` squared.

    Args:
        config: The model's `hidden_size`, `intermediate_size` and `num_hidden_layers`.
        lengths: Of each text, in tokens that the model reads.
    """
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    per_token = 4 * hidden * hidden + 2 * hidden * inner
    products = sum(n * per_token + 2 * n * n * hidden for n in lengths)
    return 2.0 * config["num_hidden_layers"] * products
