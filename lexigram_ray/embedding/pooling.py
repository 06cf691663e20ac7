"""From the vectors of tokens to the vector of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.openvino_import import import_openvino

if TYPE_CHECKING:
    import openvino

MASK_INPUT = "attention_mask"


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


def summed(model: openvino.Model) -> openvino.Model:
    """Return the model with each text's own tokens summed up by a product of its own.

    In bf16 this does more than it says. Behind its last product OpenVINO computes in fp32, and the
    sums of the layers reach from there back to the first one; with a product at the end they are
    in bf16 as well.

    Args:
        model: From ids and mask to hidden states, finite for padding too. It is changed.

    Returns:
        From ids and mask to shape `(n, 1, dim)`.
    """
    module = import_openvino()
    ops = module.opset13
    mask = next(filter(reads_mask, model.inputs))
    row = ops.unsqueeze(ops.convert(mask, "f32"), ops.constant(np.array([1])))
    sums = ops.matmul(row, model.get_results()[0].input_value(0), False, False)
    return module.Model([sums], model.get_parameters(), "summed")


def reads_mask(place: openvino.Output) -> bool:
    """Whether this input of a model says which tokens are padding."""
    return MASK_INPUT in place.get_names()


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
