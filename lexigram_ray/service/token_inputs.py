"""Token ids back into texts: the served model's own ids, or those of OpenAI's models."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.tokenizing import load_tokenizer
from lexigram_ray.jobs.recipes import Model
from lexigram_ray.service.problems import Refusal
from lexigram_ray.service.served_models import OPENAI_NAMES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OPENAI_ENCODING = "cl100k_base"
ENCODING_URL = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
CACHE_VARIABLES = ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR")
SEND_TEXT = "send the texts themselves (LangChain: check_embedding_ctx_length=False)"

Decode = Callable[[Sequence[int]], str]


def texts_of_tokens(name: str, model: Model, token_lists: Sequence[Sequence[int]]) -> Sequence[str]:
    """Return the texts that token ids stand for. Reads files at the first use.

    Args:
        name: What the client calls the model: under OpenAI's names the ids are those of OpenAI's
            tokenizer, else the model's own.
        model: The one that is served.
        token_lists: One list of ids for each text.

    Raises:
        Refusal: They cannot be decoded here, or stand for nothing.
    """
    decode = _openai_decoder() if name.lower() in OPENAI_NAMES else _own_decoder(model)
    texts: list[str] = []
    for place, tokens in enumerate(token_lists):
        text = decode(tokens)
        if not text:
            raise _refused(f"the token ids of item {place} stand for no text", hint=SEND_TEXT)
        texts.append(text)
    return texts


def _own_decoder(model: Model) -> Decode:
    if not isinstance(model, LocalModel):
        raise _refused(f"the tokenizer of {model.spec.name} is not on this machine", hint=SEND_TEXT)
    tokenizer = _tokenizer(model)
    size = tokenizer.get_vocab_size(with_added_tokens=True)

    def decode(tokens: Sequence[int]) -> str:
        if max(tokens) >= size:
            raise _refused(
                f"{max(tokens)} is no token id of {model.spec.name}, which has {size}",
                hint=SEND_TEXT,
            )
        return tokenizer.decode(list(tokens), skip_special_tokens=True)

    return decode


@functools.lru_cache(maxsize=4)
def _tokenizer(model: LocalModel) -> Tokenizer:
    return load_tokenizer(model)


def _openai_decoder() -> Decode:
    if importlib.util.find_spec("tiktoken") is None:
        raise _refused(
            "token ids of OpenAI's models cannot be decoded here: tiktoken is not installed",
            hint=f"{SEND_TEXT}, or install tiktoken where the service runs",
        )
    if not _encoding_file().is_file():
        # It would be fetched in the middle of a request, or not, where there is no network.
        raise _refused(
            f"token ids of OpenAI's models cannot be decoded here: tiktoken's {OPENAI_ENCODING} is "
            "not on this machine",
            hint=f"{SEND_TEXT}, or set {CACHE_VARIABLES[0]} for the service to a folder that has "
            "it",
        )
    import tiktoken

    try:
        encoding = tiktoken.get_encoding(OPENAI_ENCODING)
    except (OSError, ValueError) as error:
        raise _refused(
            f"tiktoken's {OPENAI_ENCODING} cannot be loaded: {error}", hint=SEND_TEXT
        ) from error

    def decode(tokens: Sequence[int]) -> str:
        try:
            return encoding.decode(tokens)
        except KeyError as error:
            raise _refused(f"{error.args[0]} ({OPENAI_ENCODING})", hint=SEND_TEXT) from error

    return decode


def _encoding_file() -> Path:
    # As tiktoken itself does, which offers no way to ask.
    given = next((os.environ[name] for name in CACHE_VARIABLES if name in os.environ), None)
    folder = Path(tempfile.gettempdir()) / "data-gym-cache" if given is None else Path(given)
    return folder / hashlib.sha1(ENCODING_URL.encode(), usedforsecurity=False).hexdigest()


def _refused(message: str, *, hint: str) -> Refusal:
    return Refusal(400, message, code="invalid_tokens", hint=hint, param="input")
