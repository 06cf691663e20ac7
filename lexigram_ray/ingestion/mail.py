"""A mail as text: who, when, about what, and the body. Attachments are named, not read."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from typing import cast

from lexigram_ray.core.errors import CorruptError, LimitExceededError
from lexigram_ray.ingestion import html
from lexigram_ray.ingestion.decode import decode

_SHOWN = ("From", "To", "Cc", "Date", "Organization", "Keywords", "Comments", "Summary", "Abstract")
_IGNORED = "attachments_not_read"
# A line of this form counts only before headers: text may say "From here on, 9:30 is the rule".
_MBOX_LINE = re.compile(rb"(?:\A|\n\r?\n)(From [^\n]*\d:\d\d[^\n]*\n(?=[!-9;-~]+:))")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.M)
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail's text as Markdown, its subject, and its headers of interest."""

    markdown: str
    subject: str
    metadata: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class _Parts:
    texts: list[EmailMessage] = field(default_factory=list[EmailMessage])
    ignored: list[str] = field(default_factory=list[str])


def convert(data: bytes) -> Mail:
    """Read a mail (RFC 822) or a mailbox of them (mbox), however broken.

    A mailbox has the subject and the headers of its first mail.

    Raises:
        LimitExceededError: Its parts are nested too deep.
    """
    try:
        mails = [_convert(part) for part in _split(data)]
    except RecursionError as error:
        raise LimitExceededError("its parts are nested too deep") from error
    if len(mails) == 1:
        return mails[0]
    metadata = {**mails[0].metadata, "messages": len(mails)}
    ignored = [name for mail in mails for name in _ignored(mail)]
    if ignored:
        metadata[_IGNORED] = ignored
    return Mail(
        markdown="\n\n".join(mail.markdown for mail in mails if mail.markdown),
        subject=mails[0].subject,
        metadata=metadata,
    )


def _split(data: bytes) -> list[bytes]:
    if not data.startswith(b"From "):
        return [data]
    starts = [match.start(1) for match in _MBOX_LINE.finditer(data)] or [0]
    ends = [*starts[1:], len(data)]
    parts = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    return [_QUOTED_FROM.sub(rb"\1", part) for part in parts]


def _ignored(mail: Mail) -> list[str]:
    return cast("list[str]", mail.metadata.get(_IGNORED, []))


def _convert(data: bytes) -> Mail:
    message = message_from_bytes(data, policy=default_policy)
    headers = {name: _header(message, name) for name in _SHOWN}
    subject = _header(message, "Subject")
    parts = _parts(message)
    lines = [f"# {subject}"] if subject else []
    lines += ["\n".join(f"{name}: {value}" for name, value in headers.items() if value)]
    lines += [_text(part) for part in parts.texts]
    metadata: dict[str, object] = {name.lower(): value for name, value in headers.items() if value}
    if parts.ignored:
        metadata[_IGNORED] = parts.ignored
    return Mail(
        markdown="\n\n".join(line for line in lines if line), subject=subject, metadata=metadata
    )


def _header(message: EmailMessage, name: str) -> str:
    raw = next((str(text) for key, text in message.raw_items() if key.lower() == name.lower()), "")
    if _ESCAPED_BYTE.search(raw):
        # Bytes beyond ASCII, which no header may hold and the library would replace. Too few to
        # guess from: they are taken to be written as the body is.
        charsets = filter(None, (_charset(part) for part in message.walk()))
        data = raw.encode("utf-8", "surrogateescape")
        return " ".join(decode(data, next(charsets, "cp1252")).split())
    try:
        return " ".join(str(message.get(name, "")).split())
    except (ValueError, IndexError, AttributeError, TypeError):
        # The standard library's header parser raises these on malformed addresses and dates.
        return " ".join(raw.split())


def _parts(message: EmailMessage) -> _Parts:
    parts = _Parts()
    _collect(message, parts)
    if not parts.texts:
        # Nothing but a forwarded mail, or a text that calls itself an attachment.
        texts = (part for part in message.walk() if _is_text(part) and not part.get_filename())
        parts.texts.extend(itertools.islice(texts, 1))
    return parts


def _collect(part: EmailMessage, parts: _Parts) -> None:
    """Gather what a reader is shown as text, in order, and the names of everything else."""
    if part.get_content_maintype() == "multipart":
        _collect_children(part, parts)
    elif _is_text(part) and not part.is_attachment() and not (parts.texts and part.get_filename()):
        parts.texts.append(part)
    else:
        parts.ignored.append(part.get_filename() or "unnamed")


def _collect_children(part: EmailMessage, parts: _Parts) -> None:
    payload: object = part.get_payload()
    if not isinstance(payload, list):
        # It calls itself multipart but has no parts.
        return
    children = [child for child in cast("list[object]", payload) if isinstance(child, EmailMessage)]
    kind = part.get_content_subtype()
    if kind not in ("alternative", "related"):
        for child in children:
            _collect(child, parts)
        return
    # The others say the same in another form, or are the pictures in a page.
    chosen = _preferred(children) if kind == "alternative" else children[:1]
    for child in children:
        if child in chosen:
            _collect(child, parts)
            continue
        for leaf in child.walk():
            if leaf.is_attachment() or (leaf.get_filename() and not _is_text(leaf)):
                parts.ignored.append(leaf.get_filename() or "unnamed")


def _preferred(children: list[EmailMessage]) -> list[EmailMessage]:
    for kind in ("text/plain", "text/html"):
        for child in children:
            texts = (leaf for leaf in child.walk() if leaf.get_content_type() == kind)
            if any(not leaf.is_attachment() and _text(leaf) for leaf in texts):
                return [child]
    return children[:1]


def _is_text(part: EmailMessage) -> bool:
    return part.get_content_maintype() == "text"


def _text(part: EmailMessage) -> str:
    payload: object = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    declared = _charset(part)
    if part.get_content_type() != "text/html":
        return decode(payload, declared).strip()
    text = decode(payload, declared or html.declared_encoding(payload))
    try:
        return html.convert(text).markdown.strip()
    except CorruptError:
        # A part without any tag or word in it.
        return ""


def _charset(part: EmailMessage) -> str | None:
    try:
        return part.get_content_charset()
    except (LookupError, ValueError, AttributeError, TypeError):
        # Malformed parameters, on which the standard library's header parser raises these.
        return None
