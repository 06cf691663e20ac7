"""XML of any vocabulary to text: one paragraph for each element that holds words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - lxml has no stubs

from lexigram_ray.core.errors import CorruptError, LimitExceededError


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlText:
    """The words of an XML file, and its first `title`."""

    text: str
    title: str


def convert(data: bytes) -> XmlText:
    """Read XML, as far as it goes where it is broken.

    Element names and attributes are for programs; only what stands between tags is for readers.

    Raises:
        CorruptError: It is no XML at all.
        LimitExceededError: It is nested deeper than 2,048 levels.
    """
    # Entities are not resolved: a file may not read others or multiply itself. Without `huge_tree`,
    # recovery would silently end at a depth of 256 and at a text of 10 MB.
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        recover=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=True,
    )
    root = etree.fromstring(data, parser)
    if root is None:
        raise CorruptError("it begins as XML but is none")
    if any(entry.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for entry in parser.error_log):
        # Recovery would leave the rest out without a word.
        raise LimitExceededError("its XML is nested too deep to be read")
    title = root.find(".//{*}title")
    return XmlText(
        text="\n\n".join(_paragraphs(root)), title="" if title is None else _words(title)
    )


def _paragraphs(root: etree._Element) -> Iterator[str]:  # pyright: ignore[reportPrivateUsage]
    pending = [root]
    while pending:
        element = pending.pop()
        if _has_words_of_its_own(element) or len(element) == 0:
            words = _words(element)
            if words:
                yield words
        else:
            pending.extend(reversed(element))


def _has_words_of_its_own(element: etree._Element) -> bool:  # pyright: ignore[reportPrivateUsage]
    return any(text and text.strip() for text in (element.text, *(c.tail for c in element)))


def _words(element: etree._Element) -> str:  # pyright: ignore[reportPrivateUsage]
    if not isinstance(element.tag, str):
        # An entity reference, as it is written; comments and instructions say nothing.
        return (element.text or "") if element.tag is etree.Entity else ""
    words = element.itertext(etree.Element, etree.Entity)
    return " ".join("".join(words).split())
