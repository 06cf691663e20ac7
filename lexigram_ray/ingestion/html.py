"""HTML to Markdown: what the page says, without what surrounds it.

The tree is cleaned with lxml (libxml2 reads any broken page, in C, without network or entity
expansion) and then converted by kreuzberg. Its own `preprocessing` knows only `nav` and forms:
Sphinx's, DocBook's and AsciiDoc's navigation are plain `div`s and stay in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - lxml has no stubs
from lxml import html as lxml_html

from lexigram_ray.core.errors import CorruptError

_REMOVED_TAGS = (
    "script", "style", "template", "noscript", "nav", "form", "button", "input",
    "select", "textarea", "svg", "iframe", "object", "embed", "canvas", "video", "audio",
    "footer", "link", "meta", "dialog", "map",
)  # fmt: skip
_REMOVED_ROLES = frozenset(
    {"navigation", "search", "contentinfo", "complementary", "menu", "menubar", "dialog"}
)
_REMOVED_CLASSES = frozenset(
    {
        "headerlink", "sphinxsidebar", "sphinxsidebarwrapper", "related", "viewcode-link",
        "viewcode-back", "linenos", "linenodiv", "navheader", "navfooter", "navigation", "navbar",
        "breadcrumb", "breadcrumbs", "toc", "sidebar", "footer", "skip-link", "copybtn",
        "mw-editsection", "edit-this-page", "prev-next-footer", "titlepage-toc", "mobile-nav",
        "outdated", "cookie-banner",
    }
)  # fmt: skip
_REMOVED_IDS = frozenset({"toc", "footer", "sidebar", "navigation", "nav", "searchbox"})
_CONTENT = (
    "//main",
    "//*[@role='main']",
    "//article[not(preceding::article) and not(following::article)]",
    "//div[contains(concat(' ', normalize-space(@class), ' '), ' body ')]",
    "//body",
)
# Newer Sphinx writes footnotes, topics and boxed notes as `aside`: these are the page's own text.
_KEPT_ASIDES = frozenset({"footnote", "footnote-list", "footnotes", "topic", "admonition", "note"})
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_PERMALINKS = frozenset({"\N{PILCROW SIGN}", "#", "\N{SECTION SIGN}", "\N{LINK SYMBOL}"})
_CHARSET = re.compile(rb"""<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*["']?([\w.:-]+)""", re.I)
_SITE = re.compile(r"\s+[—–|·»-]\s+[^—–|·»]*\bdocumentation\s*$", re.I)
_SPACE = re.compile(r"\s+")
_FENCED = re.compile(r"(^```.*?^```[^\n]*$)", re.M | re.S)
_TABLE_ROW = re.compile(r"^\|.*\|$", re.M)
_PADDING = re.compile(r" {2,}")
_RULE = re.compile(r"-{4,}")
_META = ("author", "description", "keywords")
_OPTIONS = {
    "heading_style": "atx",
    "code_block_style": "backticks",
    "escape_asterisks": False,
    "escape_underscores": False,
    "escape_misc": False,
    "escape_ascii": False,
    "extract_metadata": False,
    "autolinks": False,
    "preprocessing": {"enabled": False, "remove_navigation": False, "remove_forms": False},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A converted page: Markdown, the title without boilerplate, facts from its `meta` tags."""

    markdown: str
    title: str
    metadata: dict[str, object] = field(default_factory=dict[str, object])


def declared_encoding(data: bytes) -> str | None:
    """Return the encoding that the page itself names, if it names one."""
    found = _CHARSET.search(data[:2048])
    return found[1].decode("ascii") if found else None


def convert(text: str) -> Page:
    """Convert a page.

    Raises:
        CorruptError: There is no HTML in it.
    """
    root = _parse(text)
    title = _text(root.find(".//title"))
    metadata = _metadata(root)
    content = _content(root)
    _strip(content)
    heading = _text(content.find(".//h1"))
    return Page(
        markdown=_markdown(content),
        title=_without_site(title, heading) or heading,
        metadata=metadata,
    )


def _parse(text: str) -> lxml_html.HtmlElement:
    parser = lxml_html.HTMLParser(
        encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True, no_network=True
    )
    try:
        # Bytes, because lxml refuses a str with an encoding declaration in it.
        root = lxml_html.document_fromstring(text.encode(), parser=parser)
    except etree.ParserError as error:
        raise CorruptError(f"no HTML in it: {error}") from error
    return root


def _metadata(root: lxml_html.HtmlElement) -> dict[str, object]:
    facts: dict[str, object] = {}
    for element in root.iter("meta"):
        name = (element.get("name") or "").lower()
        value = _SPACE.sub(" ", element.get("content") or "").strip()
        if name in _META and value:
            facts.setdefault(name, value)
    language = root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang")
    if language:
        facts["language"] = language
    return facts


def _content(root: lxml_html.HtmlElement) -> lxml_html.HtmlElement:
    # A page's own mark of its content is trusted only if something to read is in it.
    for path in _CONTENT:
        found = root.xpath(path)
        if len(found) == 1 and _has_text(found[0]):
            return found[0]
    return root


def _has_text(element: lxml_html.HtmlElement) -> bool:
    return any(part.strip() for part in element.itertext())


def _strip(content: lxml_html.HtmlElement) -> None:
    etree.strip_elements(content, *_REMOVED_TAGS, with_tail=False)
    for element in list(content.iter(etree.Element)):
        if element is not content and _is_furniture(element):
            _drop(element)
    for heading in content.iter(*_HEADINGS):
        for link in heading.findall(".//a"):
            if _text(link) in _PERMALINKS:
                _drop(link)
    for image in content.iter("img"):
        # The picture's address is noise; what it shows, if the author said so, is not.
        image.tag, image.text = "span", _SPACE.sub(" ", image.get("alt") or "").strip()
    # A link keeps its words only. Emphasis would be asterisks inside words and signatures.
    etree.strip_tags(content, "a", "em", "i", "strong", "b", "u", "font", "span", "abbr", "wbr")
    for term in content.iter("dt"):
        # Else the definition would go on in the term's line.
        term.tag = "p"


def _is_furniture(element: lxml_html.HtmlElement) -> bool:
    attributes = element.attrib
    if element.tag == "aside":
        return not _is_part_of_the_page(element)
    if not attributes and element.tag != "header":
        return False
    if attributes.get("role", "").lower() in _REMOVED_ROLES or "hidden" in attributes:
        return True
    if attributes.get("id", "").lower() in _REMOVED_IDS and element.tag not in _HEADINGS:
        return True
    if not _REMOVED_CLASSES.isdisjoint(attributes.get("class", "").lower().split()):
        return element.tag not in ("table", "section", "article", "body")
    is_banner = element.tag == "header" or attributes.get("role") == "banner"
    return is_banner and element.find(".//h1") is None


def _is_part_of_the_page(aside: lxml_html.HtmlElement) -> bool:
    classes = set(aside.get("class", "").lower().split())
    return aside.get("role", "").lower() in ("note", "doc-footnote") or not (
        _KEPT_ASIDES.isdisjoint(classes) or "sidebar" in aside.get("id", "").lower()
    )


def _drop(element: lxml_html.HtmlElement) -> None:
    # Its tail is the text after it, which stays: `drop_tree` moves it.
    if element.getparent() is not None:
        element.drop_tree()


def _markdown(content: lxml_html.HtmlElement) -> str:
    # kreuzberg is imported here: `convert` is the only place that needs it.
    from kreuzberg import ExtractionConfig, extract_bytes_sync

    page = etree.tostring(content, encoding="utf-8", method="html", with_tail=False)
    config = ExtractionConfig(
        disable_ocr=True,  # pyright: ignore[reportCallIssue] - its stub lacks it
        use_cache=False,
        enable_quality_processing=False,
        output_format="markdown",
        html_options=_OPTIONS,
    )
    return _tidied(extract_bytes_sync(page, "text/html", config).content)


def _tidied(markdown: str) -> str:
    """Undo what the options do not reach: escaped underscores and padded columns in tables."""
    parts = _FENCED.split(markdown)
    # `split` with one group: text and fenced code take turns.
    parts[::2] = [_TABLE_ROW.sub(_narrowed, part.replace("\\_", "_")) for part in parts[::2]]
    return "".join(parts)


def _narrowed(row: re.Match[str]) -> str:
    return _RULE.sub("---", _PADDING.sub(" ", row[0]))


def _text(element: lxml_html.HtmlElement | None) -> str:
    if element is None:
        return ""
    text = _SPACE.sub(" ", "".join(element.itertext())).strip()
    return text.rstrip("\N{PILCROW SIGN}").rstrip()


def _without_site(title: str, heading: str) -> str:
    """Take the site's name off a title: `json — Python 3 documentation` is about `json`."""
    if heading and title.startswith(heading):
        rest = title[len(heading) :].strip()
        if not rest or rest[0] in "—–|·»-:":
            return heading
    return _SITE.sub("", title)
