"""Vectors and models as OpenAI's clients ask for them."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Sequence
from typing import Annotated, cast

import numpy as np
import orjson
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import TextsRefusedError, UsageError
from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.pooling import normalised
from lexigram_ray.service.auth import Reader
from lexigram_ray.service.context import ServedModel, TextVectors, context_of
from lexigram_ray.service.models.embeddings import (
    EmbeddingsAnswer,
    EmbeddingsRequest,
    ModelList,
    ModelObject,
    openai_errors,
)
from lexigram_ray.service.problems import Refusal, not_ready
from lexigram_ray.service.served_models import (
    configured_model,
    configured_model_at_hand,
    names_of,
)
from lexigram_ray.service.token_inputs import texts_of_tokens

router = APIRouter(prefix="/v1", tags=["embeddings"])
OWNER = "lexigram-ray"

ModelInPath = Annotated[str, Path(min_length=1, max_length=500, examples=[DEFAULT_MODEL])]


@router.post(
    "/embeddings",
    summary="Turn texts into vectors",
    response_model=None,
    responses={200: {"model": EmbeddingsAnswer, "description": "Vectors"}, **openai_errors(404)},
)
async def embed(request: Request, caller: Reader, asked: EmbeddingsRequest) -> Response:
    """Answer as OpenAI does: L2-normalised vectors, in order; long texts are cut at the limit.

    Texts are embedded as documents; a collection's search embeds its queries itself.
    """
    del caller
    context = context_of(request)
    model = await _asked_model(context.config, asked.model)
    dimension = model.recipe.model.spec.dimension
    if asked.dimensions is not None and asked.dimensions > dimension:
        raise Refusal(
            400,
            f"{model.name} has vectors of {dimension} numbers, and {asked.dimensions} are asked",
            code="invalid_dimensions",
            hint=f"`dimensions` between 1 and {dimension}",
            param="dimensions",
        )
    texts = await _texts(asked, model)
    try:
        found = await context.embedders.embed(model, texts, as_query=False)
    except TextsRefusedError as error:
        raise Refusal(400, error.message, code=error.code, param="input") from error
    except UsageError as error:
        raise not_ready(error) from error
    return Response(_answer(found, asked, model), media_type="application/json")


@router.get("/models", summary="List the models", responses=openai_errors())
async def list_models(request: Request, caller: Reader) -> ModelList:
    """Name the configured model, which `/v1/embeddings` asks."""
    del caller
    return ModelList(data=[_shown(await _configured(context_of(request).config))])


@router.get("/models/{model:path}", summary="Show a model", responses=openai_errors(404))
async def show_model(request: Request, caller: Reader, model: ModelInPath) -> ModelObject:
    """Show the model of any name that `/v1/embeddings` takes."""
    del caller
    return _shown(await _asked_model(context_of(request).config, model))


async def _asked_model(config: WorkersConfig, name: str) -> ServedModel:
    model = await _configured(config)
    if name.lower() not in names_of(config, model):
        raise Refusal(
            404,
            f"there is no model {name!r}",
            code="model_not_found",
            hint=f"ask for {model.name!r}; GET /v1/models lists what there is",
            param="model",
        )
    return model


async def _configured(config: WorkersConfig) -> ServedModel:
    model = configured_model_at_hand(config)
    if model is None:
        try:
            model = await run_in_threadpool(configured_model, config)
        except UsageError as error:
            raise not_ready(error) from error
    return model


async def _texts(asked: EmbeddingsRequest, model: ServedModel) -> Sequence[str]:
    given = asked.input
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], str):
        return cast("list[str]", given)
    tokens = [given] if isinstance(given[0], int) else given
    lists = cast("list[list[int]]", tokens)
    return await run_in_threadpool(texts_of_tokens, asked.model, model.recipe.model, lists)


def _answer(found: TextVectors, asked: EmbeddingsRequest, model: ServedModel) -> bytes:
    vectors = _shortened(found.vectors, asked.dimensions)
    rows = _in_base64(vectors) if asked.encoding_format == "base64" else list(vectors)
    tokens = sum(found.tokens)
    answer = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": row}
            for index, row in enumerate(rows)
        ],
        "model": model.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _shortened(vectors: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
    if dimensions is None or dimensions == vectors.shape[1]:
        return np.ascontiguousarray(vectors)
    return normalised(vectors, dimensions)


def _in_base64(vectors: NDArray[np.float32]) -> list[str]:
    return [
        b2a_base64(row.tobytes(), newline=False).decode("ascii") for row in vectors.astype("<f4")
    ]


def _shown(model: ServedModel) -> ModelObject:
    found = model.recipe.model
    created = int(found.tokenizer_file.stat().st_mtime) if isinstance(found, LocalModel) else 0
    return ModelObject(
        id=model.name,
        created=created,
        owned_by=OWNER,
        dimensions=found.spec.dimension,
        max_tokens=found.spec.max_tokens,
    )
