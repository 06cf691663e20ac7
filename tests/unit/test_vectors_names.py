from __future__ import annotations

import pytest

from lexigram_ray.core.errors import InvalidNameError
from lexigram_ray.vectors.collections import validate_name


@pytest.mark.parametrize("name", ["docs", "Docs-2", "a", "_hidden", "v1.2", "9", "a" * 249])
def test_a_plain_name_is_accepted(name: str) -> None:
    validate_name(name)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "empty"),
        ("a/b", "'/'"),
        ("/etc/passwd", "'/'"),
        ("a\\b", r"'\\\\'"),
        ("..", r"'\.\.'"),
        ("a..b", r"'\.\.'"),
        ("../up", r"'\.\.'"),
        (".hidden", r"begin with '\.'"),
        ("-option", "begin with '-'"),
        ("a b", "' '"),
        ("a\nb", r"'\\n'"),
        ("a\0b", r"'\\x00'"),
        ("caf\u00e9", "'\u00e9'"),
        ("\udcff", r"'\\udcff'"),
        ("a%2Fb", "'%'"),
        ("a" * 250, "249 characters"),
        ("a" * 300, "249 characters"),
    ],
)
def test_a_name_that_could_not_be_a_folder_everywhere_is_refused_with_the_rule(
    name: str, rule: str
) -> None:
    with pytest.raises(InvalidNameError, match=rule) as refused:
        validate_name(name)
    assert refused.value.hint
    assert refused.value.message.isprintable()


def test_a_very_long_name_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidNameError) as refused:
        validate_name("a" * 300)
    assert "(300 characters)" in refused.value.message
    assert len(refused.value.message) < 200
