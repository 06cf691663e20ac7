"""The attention of a model for OpenVINO, written out: padding masked in one row, or not at all.

A model as it was traced masks every pair of tokens. Where its masks say no more than which tokens
are padding, a row of them for each text says the same; and texts of one length need none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.compiled_models import FIRST_INFERENCE
from lexigram_ray.embedding.openvino_import import import_openvino
from lexigram_ray.embedding.pooling import reads_mask

if TYPE_CHECKING:
    import openvino

# Of what `written_out` and `pooling.summed` make: compiled models of an earlier one are not used.
VERSION = 1
ATTENTION = "ScaledDotProductAttention"
MASK_PLACE, SCALE_PLACE = 3, 4
# A mask of more tokens has pairs by the hundred million.
MOST_PROBED_TOKENS = 8192
# What is added to a score in place of minus infinity: fp16 holds it, and no exponential of it.
MASKED = float(np.finfo(np.float16).min)
# What a mask adds to the score of a pair that it does not mask, and at most to one that it does.
NOTHING, FAR_BELOW = 0.0, -1e4


def masks_padding_only(model: openvino.Model, max_tokens: int) -> bool:
    """Tell whether each mask of the model's attention says which tokens are padding, and no more.

    Models that look only at near tokens, or add positions by their masks, are others. The masks
    themselves are computed and looked at, for a text as long as the model reads but for one token.

    Args:
        model: From ids and mask to hidden states. It is not changed.
        max_tokens: The model's limit.
    """
    attentions = list(_attentions(model))
    if not attentions or not all(map(_can_be_written_out, attentions)):
        return False
    if max_tokens > MOST_PROBED_TOKENS:
        return False
    # One token of padding: the others are as far apart as any that the model reads.
    mask = (np.arange(max_tokens) < max(1, max_tokens - 1)).astype(np.int64)[np.newaxis]
    return all(_is_of_padding(found, mask[0]) for found in _masks(model, mask))


def written_out(model: openvino.Model, *, padded: bool) -> openvino.Model:
    """Return the model with its attention as products and a softmax.

    Args:
        model: One that `masks_padding_only`. It is not changed.
        padded: Whether the texts of a batch may differ in length. Else the mask is not read.
    """
    ops = import_openvino().opset13
    model = model.clone()
    row = _row_of_padding(model) if padded else None
    for attention in list(_attentions(model)):
        query, key, value = (attention.input_value(place) for place in range(3))
        scores = ops.matmul(ops.multiply(query, _scale(attention)), key, False, True)
        if row is not None:
            scores = ops.add(scores, row)
        answer = ops.matmul(ops.softmax(scores, -1), value, False, False)
        attention.output(0).replace(answer.output(0))
    model.validate_nodes_and_infer_types()
    return model


def _attentions(model: openvino.Model) -> Iterator[openvino.Node]:
    return (node for node in model.get_ordered_ops() if node.get_type_name() == ATTENTION)


def _can_be_written_out(attention: openvino.Node) -> bool:
    inputs = attention.get_input_size()
    queries = attention.input_value(0).get_partial_shape()
    return (
        MASK_PLACE < inputs <= SCALE_PLACE + 1
        and not attention.get_attributes()["causal"]
        and queries.rank.is_static
        and queries.rank.get_length() == 4
        and (inputs > SCALE_PLACE or queries[3].is_static)
    )


def _masks(model: openvino.Model, mask: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Yield the masks of the model's attention for some text with this padding."""
    openvino = import_openvino()
    model = model.clone()
    sources = [attention.input_value(MASK_PLACE) for attention in _attentions(model)]
    distinct = {
        (source.get_node().get_friendly_name(), source.get_index()): source for source in sources
    }
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    for source in distinct.values():
        probe = openvino.Model([source], model.get_parameters(), "mask")
        compiled = openvino.Core().compile_model(probe, "CPU", settings)
        given = [mask if reads_mask(place) else np.ones_like(mask) for place in compiled.inputs]
        with FIRST_INFERENCE:
            found = compiled(given)[0]
        yield _as_added(found)


def _as_added(found: NDArray[np.generic]) -> NDArray[np.float32]:
    if found.dtype == np.bool_:
        return np.where(found, np.float32(NOTHING), np.float32(MASKED))
    return found.astype(np.float32, copy=False)


def _is_of_padding(found: NDArray[np.float32], mask: NDArray[np.int64]) -> bool:
    """Tell whether a mask, broadcast to pairs, masks padding for each real token, and no more."""
    if not 1 <= found.ndim <= 4 or found.shape[-1] not in (1, len(mask)):
        return False
    real = mask == 1
    rows = found.reshape(-1, *found.shape[-2:]) if found.ndim > 1 else found[None, None]
    if rows.shape[1] == len(mask):
        rows = rows[:, real]
    rows = np.broadcast_to(rows, (*rows.shape[:2], len(mask)))
    kept, cut = rows[..., real], rows[..., ~real]
    return bool((kept == NOTHING).all() and (cut <= FAR_BELOW).all())


def _row_of_padding(model: openvino.Model) -> openvino.Node:
    ops = import_openvino().opset13
    mask = next(filter(reads_mask, model.inputs))
    padding = ops.subtract(ops.constant(np.float32(1)), ops.convert(mask, "f32"))
    added = ops.multiply(padding, ops.constant(np.float32(MASKED)))
    return ops.unsqueeze(added, ops.constant(np.array([1, 2])))


def _scale(attention: openvino.Node) -> openvino.Node | openvino.Output:
    if attention.get_input_size() > SCALE_PLACE:
        return attention.input_value(SCALE_PLACE)
    ops = import_openvino().opset13
    width = attention.input_value(0).get_partial_shape()[3].get_length()
    return ops.constant(np.float32(1 / math.sqrt(width)))
