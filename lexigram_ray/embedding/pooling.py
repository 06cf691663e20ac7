"""From the vectors of tokens to the vector of a text, in float32 whatever the model computes in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pool(
    hidden: NDArray[np.float32], lengths: NDArray[np.int64], pooling: str
) -> NDArray[np.float32]:
    """Pool each text's own tokens.

    Args:
        hidden: float32, shape `(n, longest, dim)`; what padding holds does not matter.
        lengths: Tokens of each text, shape `(n,)`.
        pooling: `mean` or `cls`.

    Returns:
        float32, shape `(n, dim)`.
    """
    pooled = np.empty((hidden.shape[0], hidden.shape[2]), np.float32)
    for row, length in enumerate(lengths):
        pooled[row] = hidden[row, 0] if pooling == "cls" else hidden[row, :length].mean(axis=0)
    return pooled


def normalised(pooled: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Keep the first `dimension` numbers of each row, and normalise them.

    Returns:
        float32, shape `(n, dimension)`, rows L2-normalised. A row that cannot be, because the model
        returned NaN, infinity or nothing but zeros, is NaN.
    """
    kept = pooled[:, :dimension]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", kept, kept, dtype=np.float64))
        return (kept / norms[:, None]).astype(np.float32)
