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
from lexigram_ray.ingestion.fences import outside_code

_REMOVED_TAGS = (
    "script", "style", "template", "nav", "button", "input", "select", "textarea", "svg",
    "iframe", "object", "embed", "canvas", "video", "audio", "link", "meta", "dialog", "map",
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
# Names that only generators of pages use; the others may stand on a wrapper around everything.
_ALWAYS_REMOVED_CLASSES = frozenset(
    {
        "headerlink", "sphinxsidebar", "sphinxsidebarwrapper", "viewcode-link", "viewcode-back",
        "linenos", "linenodiv", "navheader", "navfooter", "copybtn", "mw-editsection",
        "edit-this-page", "prev-next-footer", "titlepage-toc", "mobile-nav", "cookie-banner",
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
# A shorter `noscript` asks for JavaScript or counts visitors.
_MIN_NOSCRIPT = 200
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_PERMALINKS = frozenset({"\N{PILCROW SIGN}", "#", "\N{SECTION SIGN}", "\N{LINK SYMBOL}"})
_CHARSET = re.compile(rb"""<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*["']?([\w.:-]+)""", re.I)
_SITE = re.compile(r"\s+[—–|·»-]\s+[^—–|·»]*\bdocumentation\s*$", re.I)
_SPACE = re.compile(r"\s+")
_TABLE_ROW = re.compile(r"^\|.*\|$", re.M)
_PADDING = re.compile(r" {2,}")
_RULE = re.compile(r"-{4,}")
_TEXTS = etree.XPath("descendant::text()", smart_strings=False)
_LINK_TEXTS = etree.XPath("descendant::a//text()", smart_strings=False)
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
    _remove_furniture(root)
    content = _content(root)
    _simplify(content)
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
    # A page's own mark of its content is trusted only if most of what there is to read is in it:
    # a single `article` or `body` may be one teaser or one card among many paragraphs.
    body = root.find("body")
    whole = _lengths(root if body is None else body)
    for path in _CONTENT:
        found = root.xpath(path)
        if len(found) == 1 and _has_text(found[0]):
            held = _lengths(found[0])
            if held[0] * 2 >= whole[0] or held[1] * 2 >= whole[1] > 0:
                return found[0]
    return root


def _has_text(element: lxml_html.HtmlElement) -> bool:
    return any(part.strip() for part in element.itertext())


def _lengths(element: lxml_html.HtmlElement) -> tuple[int, int]:
    """Count the characters of an element's text, and of what stands outside links: no menus."""
    everything = _length(_TEXTS(element))
    return everything, everything - _length(_LINK_TEXTS(element))


def _length(texts: list[str]) -> int:
    return len("".join("".join(texts).split()))


def _remove_furniture(root: lxml_html.HtmlElement) -> None:
    body = root.find("body")
    content = root if body is None else body
    for form in list(content.iter("form")):
        # Some sites wrap the whole page in one. Labels mean nothing without their controls.
        etree.strip_elements(form, "label", with_tail=False)
        form.tag = "div"
    etree.strip_elements(root, *_REMOVED_TAGS, with_tail=False)
    whole, headings = _lengths(content), content.findall(".//h1")
    for element in list(content.iter(etree.Element)):
        if element is content or not _is_furniture(element):
            continue
        if _is_always_removed(element) or not _holds_the_page(element, whole, headings):
            _drop(element)
    for element in content.xpath("descendant-or-self::*[@hidden or self::noscript]"):
        # The converter would leave these out by itself.
        element.attrib.pop("hidden", None)
        if element.tag == "noscript":
            element.tag = "div"


def _is_always_removed(element: lxml_html.HtmlElement) -> bool:
    classes = element.get("class", "").lower().split()
    return not _ALWAYS_REMOVED_CLASSES.isdisjoint(classes)


def _holds_the_page(
    element: lxml_html.HtmlElement,
    whole: tuple[int, int],
    headings: list[lxml_html.HtmlElement],
) -> bool:
    """Tell whether a layout's name stands on the page itself, as in `class="page sidebar"`."""
    if len(headings) == 1 and element in headings[0].iterancestors():
        return True
    names = {element.tag, element.get("id", "").lower(), *element.get("class", "").lower().split()}
    if "footer" in names:
        # Terms and licences are often longer than a short page.
        return False
    held = _lengths(element)
    return held[0] * 2 > whole[0] and held[1] * 2 > whole[1]


def _simplify(content: lxml_html.HtmlElement) -> None:
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
    if element.tag == "noscript":
        return len(_text(element)) < _MIN_NOSCRIPT
    if element.tag == "footer":
        # The footer of a quotation says who is quoted.
        return next(element.iterancestors("blockquote"), None) is None
    if element.tag == "aside":
        return not _is_part_of_the_page(element)
    if element.tag == "header" or attributes.get("role") == "banner":
        return _is_banner(element)
    return bool(attributes) and _is_named_furniture(element)


def _is_named_furniture(element: lxml_html.HtmlElement) -> bool:
    attributes = element.attrib
    if attributes.get("role", "").lower() in _REMOVED_ROLES:
        return True
    # Browsers show what is hidden until it is found to whoever searches for it.
    if attributes.get("hidden", "until-found").lower() != "until-found":
        return True
    if attributes.get("id", "").lower() in _REMOVED_IDS and element.tag not in _HEADINGS:
        return True
    classes = set(attributes.get("class", "").lower().split())
    removed = classes & _REMOVED_CLASSES
    if removed == {"sidebar"} and _is_sphinx_sidebar(element):
        return False
    return bool(removed) and element.tag not in ("table", "section", "article", "body")


def _is_banner(header: lxml_html.HtmlElement) -> bool:
    if _is_named_furniture(header):
        return True
    if header.find(".//h1") is not None:
        return False
    is_within_content = next(header.iterancestors("main", "article", "section"), None) is not None
    return not (is_within_content and next(header.iter(*_HEADINGS), None) is not None)


def _is_sphinx_sidebar(element: lxml_html.HtmlElement) -> bool:
    # What the author wrote with `.. sidebar::`; a theme's sidebar has no title of this class.
    return any("sidebar-title" in title.get("class", "").split() for title in element.iter("p"))


def _is_part_of_the_page(aside: lxml_html.HtmlElement) -> bool:
    classes = set(aside.get("class", "").lower().split())
    if "sidebar" in classes and _is_sphinx_sidebar(aside):
        return True
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
    return outside_code(
        markdown, lambda prose: _TABLE_ROW.sub(_narrowed, prose.replace("\\_", "_"))
    )


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
