"""Texts into token ids: uncut for the chunker, cut at the model's limit for the engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

    from lexigram_ray.embedding.models import LocalModel

LongTexts = Literal["truncate", "fail"]

# Far more characters than a token of real text has: the head of a long text, in most cases.
HEAD_CHARACTERS_PER_TOKEN = 64
# The end of one word and the beginning of the next: no token reaches from one side to the other.
BETWEEN_WORDS = re.compile(r"\S\s+\S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Texts as tokens.

    Attributes:
        ids: Each text's tokens, at least one; one that is not to be used for a refused text.
        truncated: Shape `(n,)`; True where the text was cut at the limit.
        refused: Why a text has no tokens, by its position.
    """

    ids: list[NDArray[np.int32]]
    truncated: NDArray[np.bool_]
    refused: dict[int, str]


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
    """Token ids of texts, cut at the model's limit. Safe to use from several threads."""

    def __init__(
        self, tokenizer: Tokenizer, max_tokens: int, long_texts: LongTexts = "truncate"
    ) -> None:
        """Take over `tokenizer`: it is changed to truncate.

        Args:
            tokenizer: From `load_tokenizer`.
            max_tokens: The limit, special tokens included.
            long_texts: Whether a text beyond the limit is cut there or refused.
        """
        tokenizer.enable_truncation(max_length=max_tokens)
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._long_texts = long_texts
        self._head = max_tokens * HEAD_CHARACTERS_PER_TOKEN
        self._pad = tokenizer.token_to_id(_padding_token(tokenizer)) or 0

    @property
    def pad_id(self) -> int:
        """The id with which shorter rows of a batch are filled; it is masked."""
        return self._pad

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts, in order. A text that is not valid Unicode is refused."""
        refused = {row: reason for row, text in enumerate(texts) if (reason := _not_unicode(text))}
        short = [
            "" if len(text) > self._head or row in refused else text
            for row, text in enumerate(texts)
        ]
        encodings = self._tokenizer.encode_batch_fast(short)
        for row, text in enumerate(texts):
            if len(text) > self._head and row not in refused:
                encodings[row] = self._encode_long(text)
        truncated = np.array([bool(encoding.overflowing) for encoding in encodings], np.bool_)
        if self._long_texts == "fail":
            for row in np.flatnonzero(truncated).tolist():
                refused[row] = self._too_long(encodings[row], whole=len(texts[row]) <= self._head)
            truncated[:] = False
        ids = [np.asarray(encoding.ids or [self._pad], np.int32) for encoding in encodings]
        return Encoded(ids=ids, truncated=truncated, refused=refused)

    def _encode_long(self, text: str) -> Encoding:
        # A text of megabytes is cut after some hundred tokens, and its head gives the same ones.
        size = self._head
        while size < len(text):
            head = text[:size]
            encoding = self._tokenizer.encode(head)
            if encoding.overflowing and _is_settled(encoding, head):
                return encoding
            size *= 8
        return self._tokenizer.encode(text)

    def _too_long(self, encoding: Encoding, *, whole: bool) -> str:
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        tokens = len(encoding.ids) + sum(len(part.ids) - special for part in encoding.overflowing)
        return (
            f"it has {'' if whole else 'at least '}{tokens} tokens, and the model reads"
            f" {self._max_tokens}"
        )


def _is_settled(encoding: Encoding, head: str) -> bool:
    """Tell whether no continuation of `head` could change the tokens that are kept of it.

    Tokens are made within words, as the tokenizer's own rules cut them: the last word of which a
    token is kept must end, and the next one too, because a rule may look ahead. Where those rules
    cut too little, white space does it.
    """
    kept = [word for word in encoding.word_ids if word is not None]
    seen = [word for word in encoding.overflowing[-1].word_ids if word is not None]
    if kept and seen and seen[-1] >= kept[-1] + 3:
        return True
    kept_until = max((end for _, end in encoding.offsets), default=len(head))
    return BETWEEN_WORDS.search(head, kept_until) is not None


def _padding_token(tokenizer: Tokenizer) -> str:
    return next(
        (token for token in ("[PAD]", "<pad>") if tokenizer.token_to_id(token) is not None), ""
    )


def _not_unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"it is not valid Unicode: {error.reason} at character {error.start}"
    return ""
