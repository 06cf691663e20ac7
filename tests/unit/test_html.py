from __future__ import annotations

import pytest

from lexigram_ray.core.errors import CorruptError
from lexigram_ray.ingestion.html import convert, declared_encoding
from tests import documents


def page(body: str, head: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"


def test_a_sphinx_page_keeps_its_content_and_loses_everything_around_it() -> None:
    converted = convert(documents.html().decode())

    assert converted.markdown.strip() == (
        "# Harbour handbook\n\n"
        "See the harbour rules & more.\n\n"
        "## Rule 1\n\nEvery vessel reports to the harbour master on channel twelve.\n\n"
        "## Rule 2\n\nThe crane lifts forty tonnes; heavier loads wait for the floating crane.\n\n"
        "## Rule 3\n\nFog signals are given twice a minute while visibility is poor.\n\n"
        '```\ndef signal():\n    return "fog"\n```\n\n'
        "| berth | depth |\n| --- | --- |\n"
        "| North quay | 9.5 m |\n| Oil jetty | 14 m |"
    )
    assert converted.title == "Harbour handbook"
    assert converted.metadata == {"language": "en"}


@pytest.mark.parametrize(
    "furniture",
    [
        "<nav>away</nav>",
        "<aside>away</aside>",
        "<footer>away</footer>",
        "<header><p>away</p></header>",
        "<script>away</script>",
        "<style>away</style>",
        "<template><p>away</p></template>",
        "<form><label>away</label><input></form>",
        "<div role='navigation'>away</div>",
        "<div class='sphinxsidebar'>away</div>",
        "<div class='toc'><dl><dt>away</dt></dl></div>",
        "<div class='navheader'>away</div>",
        "<p hidden>away</p>",
        "<!-- away -->",
    ],
)
def test_furniture_is_left_out_but_not_the_text_after_it(furniture: str) -> None:
    converted = convert(page(f"<p>before</p>{furniture} after"))

    assert converted.markdown.split() == ["before", "after"]


def test_a_header_that_holds_the_page_title_stays() -> None:
    converted = convert(page("<header><h1>Title</h1></header><p>text</p>"))

    assert converted.markdown.strip() == "# Title\n\ntext"


def test_only_the_main_part_is_taken_where_a_page_names_one() -> None:
    assert convert(page("<p>menu</p><main><p>text</p></main>")).markdown.strip() == "text"
    assert convert(page("<p>menu</p><article><p>text</p></article>")).markdown.strip() == "text"
    assert convert(page("<p>menu</p><div role='main'><p>text</p></div>")).markdown.strip() == "text"


def test_an_empty_main_part_is_not_believed() -> None:
    assert convert(page("<main></main><p>text</p>")).markdown.strip() == "text"


def test_several_articles_are_all_kept() -> None:
    converted = convert(page("<article><p>one</p></article><article><p>two</p></article>"))

    assert converted.markdown.split() == ["one", "two"]


def test_links_keep_their_words_and_lose_their_addresses() -> None:
    converted = convert(page("<p>see <a href='https://x.example/y'>the <b>rules</b></a>, now</p>"))

    assert converted.markdown.strip() == "see the rules, now"


def test_pictures_leave_their_description() -> None:
    converted = convert(page("<p>a <img src='x.png' alt='red crane'> here</p>"))

    assert converted.markdown.strip() == "a red crane here"


def test_lists_and_nested_lists_stay_lists() -> None:
    converted = convert(page("<ul><li>one<ul><li>two</li></ul></li><li>three</li></ul>"))

    assert [line.strip(" *-") for line in converted.markdown.split("\n") if line] == [
        "one",
        "two",
        "three",
    ]


def test_code_keeps_its_line_breaks_and_is_not_escaped() -> None:
    converted = convert(page("<pre><span>a_b</span> *= [1]\n  &lt;c&gt;</pre>"))

    assert converted.markdown.strip() == "```\na_b *= [1]\n  <c>\n```"


def test_words_on_two_lines_around_a_link_do_not_grow_together() -> None:
    converted = convert(page("<p>specified by\n<span></span><a href='#'>RFC 7159</a></p>"))

    assert converted.markdown.split() == ["specified", "by", "RFC", "7159"]


def test_a_term_and_its_definition_are_two_paragraphs() -> None:
    converted = convert(page("<dl><dt>json.dump(<em>obj</em>)</dt><dd><p>Writes it.</p></dd></dl>"))

    assert converted.markdown.strip() == "json.dump(obj)\n\nWrites it."


@pytest.mark.parametrize(
    ("title", "heading", "expected"),
    [
        ("json &#8212; JSON encoder &#8212; Python 3.11.2 documentation", "json", "json"),
        ("Index &#8212; Python 3.11.2 documentation", "", "Index"),
        ("A &amp; B", "", "A & B"),
        ("  spread \n out ", "", "spread out"),
        ("", "Heading\N{PILCROW SIGN}", "Heading"),
        ("git-add(1)", "git-add(1) Manual Page", "git-add(1)"),
        ("Rules", "Rulesets", "Rules"),
    ],
)
def test_a_title_is_the_page_and_not_the_site(title: str, heading: str, expected: str) -> None:
    converted = convert(page(f"<h1>{heading}</h1><p>x</p>", f"<title>{title}</title>"))

    assert converted.title == expected


def test_broken_html_is_read_as_far_as_it_goes() -> None:
    assert convert("<html><p>one<div>two</p></span> <b>three").markdown.split() == [
        "one",
        "two",
        "three",
    ]


def test_an_encoding_declaration_in_the_text_does_no_harm() -> None:
    text = "<?xml version='1.0' encoding='iso-8859-1'?><html><body><p>größe</p></body></html>"

    assert convert(text).markdown.strip() == "größe"


def test_no_html_at_all_is_corrupt() -> None:
    with pytest.raises(CorruptError):
        convert("<!-- only a comment -->")


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b'<meta charset="iso-8859-1">', "iso-8859-1"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">', "koi8-r"),
        (b'<?xml version="1.0" encoding="UTF-8"?><html>', "UTF-8"),
        (b"<html><p>charset", None),
    ],
)
def test_the_encoding_that_a_page_names_is_found(data: bytes, encoding: str | None) -> None:
    assert declared_encoding(data) == encoding


def test_footnotes_and_topics_stay_though_they_are_asides() -> None:
    page = convert(
        "<main><p>See below.</p><aside class='footnote' role='note'><p>A footnote.</p></aside>"
        "<aside class='topic'><p>A topic.</p></aside><aside><p>An advertisement.</p></aside></main>"
    )
    assert "A footnote." in page.markdown
    assert "A topic." in page.markdown
    assert "advertisement" not in page.markdown


def test_table_cells_keep_their_underscores_and_lose_their_padding() -> None:
    rows = (
        "<tr><th>Name</th><th>Meaning</th></tr><tr><td>__doc__</td><td>" + "x" * 40 + "</td></tr>"
    )
    markdown = convert(f"<main><table>{rows}</table><pre>a\\_b  |</pre></main>").markdown
    assert "| __doc__ |" in markdown
    assert "----" not in markdown
    assert "a\\_b  |" in markdown


def test_a_page_wrapped_in_a_form_keeps_its_text_and_loses_the_controls() -> None:
    converted = convert(page("<form><h1>Berths</h1><p>text</p><input value=x><button>Go</button>"))

    assert converted.markdown.strip() == "# Berths\n\ntext"


@pytest.mark.parametrize("card", ["<article>{}</article>", '<div class="body">{}</div>'])
def test_one_teaser_does_not_stand_for_the_whole_page(card: str) -> None:
    text = "<p>The harbour is open by day and by night.</p>" * 5

    assert "open by day" in convert(page(text + card.format("<p>teaser</p>"))).markdown


def test_a_menu_of_links_does_not_outweigh_the_main_part() -> None:
    menu = "<div>" + "<a href='x'>a place to go</a> " * 50 + "</div>"

    assert convert(page(f"{menu}<main><p>text</p></main>")).markdown.strip() == "text"


def test_the_header_of_a_section_keeps_its_heading() -> None:
    section = "<section><header><h2>Install</h2></header><p>text</p></section>"

    assert convert(page(section)).markdown.strip() == "## Install\n\ntext"
    assert "away" not in convert(page("<header><h2>away</h2></header><p>text</p>")).markdown


def test_a_layout_name_on_the_wrapper_of_the_page_does_not_remove_the_page() -> None:
    wrapped = '<div class="page sidebar"><h1>Berths</h1><p>All the text.</p></div>'

    assert convert(page(wrapped)).markdown.strip() == "# Berths\n\nAll the text."
    assert "All the" in convert(page('<div id="nav"><p>All the text.</p></div>')).markdown


@pytest.mark.parametrize(
    "kept",
    [
        "<aside class='sidebar'><p class='sidebar-title'>Tides</p><p>kept</p></aside>",
        "<div class='sidebar'><p class='first sidebar-title'>Tides</p><p>kept</p></div>",
        "<p hidden='until-found'>kept</p>",
        "<blockquote><p>Words.</p><footer>kept</footer></blockquote>",
        f"<noscript><p>kept {'berth ' * 50}</p></noscript>",
    ],
)
def test_text_in_elements_that_often_hold_furniture_is_kept(kept: str) -> None:
    body = f"<p>{'The harbour is open by day and by night. ' * 10}</p>{kept}<p>after</p>"

    assert "kept" in convert(page(body)).markdown


def test_a_request_to_turn_javascript_on_is_left_out() -> None:
    assert "away" not in convert(page("<p>text</p><noscript>away</noscript>")).markdown


def test_code_in_a_list_keeps_its_backslashes() -> None:
    converted = convert(page("<ul><li><p>one_two</p><pre>a\\_b</pre></li></ul><p>three_four</p>"))

    assert "one_two" in converted.markdown
    assert "a\\_b" in converted.markdown
    assert "three_four" in converted.markdown


def test_the_head_of_a_page_is_not_part_of_its_text() -> None:
    head = "<title>A title longer than the page</title><meta name=generator content=x>"

    assert convert(page("<p>text</p>", head)).markdown.strip() == "text"


def test_a_licence_longer_than_the_page_is_still_a_footer() -> None:
    footer = f"<div class='footer'>{'All rights reserved. ' * 9}</div>"

    assert convert(page(f"<div class='body'><p>text</p></div>{footer}")).markdown.strip() == "text"
