"""A mail as text: who, when, about what, and the body. Attachments are named, not read."""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from typing import cast

from lexigram_ray.ingestion import html

_SHOWN = ("From", "To", "Cc", "Date", "Organization", "Keywords", "Comments", "Summary", "Abstract")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail's text as Markdown, its subject, and its headers of interest."""

    markdown: str
    subject: str
    metadata: dict[str, object] = field(default_factory=dict[str, object])


def convert(data: bytes) -> Mail:
    """Read a mail (RFC 822), however broken: what cannot be decoded is replaced."""
    message = message_from_bytes(data, policy=default_policy)
    headers = {name: _header(message, name) for name in _SHOWN}
    subject = _header(message, "Subject")
    lines = [f"# {subject}"] if subject else []
    lines += ["\n".join(f"{name}: {value}" for name, value in headers.items() if value)]
    lines += [_body(message)]
    metadata: dict[str, object] = {name.lower(): value for name, value in headers.items() if value}
    ignored = _attachment_names(message)
    if ignored:
        metadata["attachments_not_read"] = ignored
    return Mail(
        markdown="\n\n".join(line for line in lines if line), subject=subject, metadata=metadata
    )


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except (ValueError, IndexError, AttributeError, TypeError):
        # The standard library's header parser raises these on malformed addresses and dates.
        return " ".join(str(dict(message.raw_items()).get(name, "")).split())


def _body(message: EmailMessage) -> str:
    try:
        part = message.get_body(preferencelist=("plain", "html"))
    except (KeyError, AttributeError):
        part = None
    part = part or _first_text(message)
    if part is None:
        return ""
    text = _content(cast("EmailMessage", part))
    if part.get_content_type() == "text/html" and text.strip():
        return html.convert(text).markdown
    return text.strip()


def _first_text(message: EmailMessage) -> EmailMessage | None:
    # `get_body` knows two types only; a body may be text/calendar, text/x-patch and so on.
    for part in message.walk():
        if part.get_content_maintype() == "text" and not part.get_filename():
            return part
    return None


def _content(part: EmailMessage) -> str:
    try:
        content: object = part.get_content()
    except (LookupError, ValueError):
        payload: object = part.get_payload(decode=True)
        content = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return content if isinstance(content, str) else ""


def _attachment_names(message: EmailMessage) -> list[str]:
    try:
        return [part.get_filename() or "unnamed" for part in message.iter_attachments()]
    except (AttributeError, KeyError):
        # A multipart message without parts.
        return []
