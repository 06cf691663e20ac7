"""Messages between the parser process and its owner: 4 bytes of length, then JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

Message = dict[str, object]

_LENGTH_BYTES = 4


def pack(message: Message) -> bytes:
    """Return a message's frame. Lone surrogates, as in odd file names, survive as escapes."""
    body = json.dumps(message, ensure_ascii=True).encode()
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def read(read_exactly: Callable[[int], bytes]) -> Message | None:
    """Read one message through `read_exactly`; None at the end of the stream.

    Args:
        read_exactly: Returns that many bytes, or fewer only at the end.
    """
    head = read_exactly(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    body = read_exactly(length)
    return cast("Message", json.loads(body)) if len(body) == length else None
