"""Texts into token ids: uncut for the chunker, cut at the model's limit for the engine."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import ConfigError, EmbeddingError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

    from lexigram_ray.embedding.models import LocalModel

# Far more characters than a token of real text has: the head of a long text, in most cases.
HEAD_CHARACTERS_PER_TOKEN = 64
SPACE = re.compile(r"\s")


def load_tokenizer(model: LocalModel) -> Tokenizer:
    """Load the model's tokenizer with truncation and padding off: nothing is cut silently.

    Raises:
        ConfigError: tokenizer.json is damaged.
    """
    from tokenizers import Tokenizer, normalizers

    try:
        tokenizer = Tokenizer.from_file(str(model.tokenizer_file))
    except Exception as error:  # it raises nothing more precise
        raise ConfigError(
            f"model {model.spec.name}: {model.tokenizer_file} cannot be loaded: {error}",
            hint="fetch the model again",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if model.lower_case:
        own = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return tokenizer


class TextEncoder:
    """Token ids of texts, cut at the model's limit. Safe to use from several threads.

    Attributes:
        truncated_texts: How many texts were longer than the limit so far.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        """Take over `tokenizer`: it is changed to truncate."""
        tokenizer.enable_truncation(max_length=max_tokens)
        self._tokenizer = tokenizer
        self._head = max_tokens * HEAD_CHARACTERS_PER_TOKEN
        self._pad = tokenizer.token_to_id(_padding_token(tokenizer)) or 0
        self._counting = threading.Lock()
        self.truncated_texts = 0

    @property
    def pad_id(self) -> int:
        """The id with which shorter rows of a batch are filled; it is masked."""
        return self._pad

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Encode texts, in order; each has at least one token.

        Raises:
            EmbeddingError: A text is not valid Unicode.
        """
        short = [text if len(text) <= self._head else "" for text in texts]
        try:
            encodings = self._tokenizer.encode_batch_fast(short)
            for position, text in enumerate(texts):
                if len(text) > self._head:
                    encodings[position] = self._encode_long(text)
        except (TypeError, UnicodeEncodeError) as error:
            raise _not_unicode(texts) from error
        truncated = sum(1 for encoding in encodings if encoding.overflowing)
        with self._counting:
            self.truncated_texts += truncated
        return [np.asarray(encoding.ids or [self._pad], np.int32) for encoding in encodings]

    def _encode_long(self, text: str) -> Encoding:
        # A text of megabytes is cut after some hundred tokens: its head gives the same ones, so
        # long as the last that is kept ends some white space before the head does.
        size = self._head
        while size < len(text):
            head = text[:size]
            encoding = self._tokenizer.encode(head)
            kept_until = max((end for _, end in encoding.offsets), default=size)
            if encoding.overflowing and SPACE.search(head, kept_until + 1):
                return encoding
            size *= 8
        return self._tokenizer.encode(text)


def _padding_token(tokenizer: Tokenizer) -> str:
    return next(
        (token for token in ("[PAD]", "<pad>") if tokenizer.token_to_id(token) is not None), ""
    )


def _not_unicode(texts: Sequence[str]) -> EmbeddingError:
    for position, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return EmbeddingError(
                f"text {position} is not valid Unicode: {error.reason} at character {error.start}",
                hint="replace lone surrogates before embedding",
            )
    return EmbeddingError("the tokenizer refused a text")
