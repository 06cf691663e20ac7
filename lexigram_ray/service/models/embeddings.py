"""OpenAI's requests, answers and errors for vectors and models."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.service.models.common import WHOLE, whole

MOST_INPUTS = 2048
MOST_CHARACTERS = 1_000_000
MOST_TOKENS = 8192
MOST_TOKEN_ID = 2**31 - 1

Text = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]
Token = Annotated[int, Field(ge=0, le=MOST_TOKEN_ID)]
Tokens = Annotated[list[Token], Field(min_length=1, max_length=MOST_TOKENS)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MOST_INPUTS)]
TokenLists = Annotated[list[Tokens], Field(min_length=1, max_length=MOST_INPUTS)]


def _one_reason(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    try:
        return handler(value)
    except ValidationError:
        pass
    # Only now, as there may be millions of them.
    value = _with_whole_numbers(value)
    try:
        return handler(value)
    except ValidationError:
        # Of a union, pydantic says for each alternative why it is not that one.
        raise PydanticCustomError(
            "embeddings_input", "{reason}", {"reason": _fault(value)}
        ) from None


def _with_whole_numbers(value: object) -> object:
    if not isinstance(value, list):
        return whole(value)
    items = cast("list[object]", value)
    return [
        [whole(each) for each in cast("list[object]", item)]
        if isinstance(item, list)
        else whole(item)
        for item in items
    ]


class EmbeddingsRequest(BaseModel):
    """Texts, and how their vectors are wanted."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"model": DEFAULT_MODEL, "input": "The moon pulls the water of the sea."},
                {
                    "model": DEFAULT_MODEL,
                    "input": ["Yeast turns sugar into gas.", "A bee tells of nectar by dancing."],
                    "encoding_format": "base64",
                    "dimensions": 128,
                },
            ]
        },
    )

    input: Annotated[
        Text | Texts | Tokens | TokenLists,
        WrapValidator(_one_reason),
        Field(description="One text or several, as strings or as the model's own token ids"),
    ]
    model: str = Field(
        min_length=1, max_length=500, description="The model's name, as /v1/models lists it"
    )
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or little-endian float32 in base64"
    )
    dimensions: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] | None = Field(
        None,
        description="Keep only so many numbers of each vector, normalised again",
    )
    user: str | None = Field(None, max_length=1000, description="Taken, and not used")


class Embedding(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int = Field(description="Of its text in `input`")
    embedding: list[float] | str


class Usage(BaseModel):
    """What the texts cost."""

    prompt_tokens: int = Field(
        description="As the model reads them; 0 where a server makes the vectors"
    )
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """Vectors, in the texts' order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str = Field(description="Whose vectors they are, whatever it was called")
    usage: Usage


class ModelObject(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When its files were written here, in seconds since 1970")
    owned_by: str
    dimensions: int = Field(description="Numbers of a vector")
    max_tokens: int = Field(description="What it reads of one text")


class ModelList(BaseModel):
    """The models that can be asked for."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class OpenAIFault(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None = Field(description="Which part of the request it is")
    code: str | None


class OpenAIError(BaseModel):
    """An error in OpenAI's shape."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "error": {
                    "message": "there is no model 'gpt-4o': GET /v1/models lists what there is",
                    "type": "invalid_request_error",
                    "param": "model",
                    "code": "model_not_found",
                }
            }
        }
    )

    error: OpenAIFault


def openai_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors that a route of OpenAI's may answer with, for its `responses`."""
    always = {400, 401, 403, 413, 429, 500, 502, 503, 504}
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": OpenAIError, "description": HTTPStatus(status).phrase}
        for status in sorted(always | set(statuses))
    }
    # Else the framework declares a 422 of its own shape, which is never sent.
    found["4XX"] = {"model": OpenAIError, "description": "Any other error of the request"}
    return found


_KINDS = "it must be a string, a list of strings, a list of token ids, or a list of such lists"


def _fault(value: object) -> str:
    if isinstance(value, str):
        return _fault_of_text(value) or _KINDS
    if isinstance(value, list):
        return _fault_of_list(cast("Sequence[object]", value)) or _KINDS
    return _KINDS


def _fault_of_list(items: Sequence[object]) -> str:
    if not items:
        return "it is an empty list: send at least one text"
    if all(type(item) is int for item in items):
        return _fault_of_tokens(items)
    if len(items) > MOST_INPUTS:
        return f"it has {len(items)} items, and at most {MOST_INPUTS} are taken at once"
    for place, item in enumerate(items):
        fault = ""
        if isinstance(item, str):
            fault = _fault_of_text(item)
        elif isinstance(item, list):
            fault = _fault_of_tokens(cast("Sequence[object]", item))
        if fault:
            return f"item {place}: {fault}"
    return ""


def _fault_of_text(text: str) -> str:
    if not text:
        return "it is an empty string, which has no vector"
    if len(text) > MOST_CHARACTERS:
        return f"it has {len(text)} characters, and at most {MOST_CHARACTERS} are taken"
    return "" if _is_unicode(text) else "it is not valid Unicode"


def _fault_of_tokens(tokens: Sequence[object]) -> str:
    if not tokens:
        return "it is an empty list of token ids, which has no vector"
    if len(tokens) > MOST_TOKENS:
        return f"it has {len(tokens)} token ids, and at most {MOST_TOKENS} are taken"
    wrong = next((token for token in tokens if not _is_token(token)), None)
    return "" if wrong is None else f"a token id is a whole number from 0 to {MOST_TOKEN_ID}"


def _is_token(token: object) -> bool:
    return type(token) is int and 0 <= token <= MOST_TOKEN_ID


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
