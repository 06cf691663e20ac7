"""The maps do not lie: what README and ARCHITECTURE name is there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lexigram_ray.cli.app import app
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.core.config import WorkersConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "ARCHITECTURE.md")


def _page(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_is_named_exists(page: str) -> None:
    named = re.findall(
        r"`((?:lexigram_ray|tests|cluster|configs|notebooks)/[\w./-]*)`", _page(page)
    )
    named += re.findall(r"\]\((?!https?:)([\w./-]+)\)", _page(page))
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert named or page == "README.md"


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_is_named_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", _page(page), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_that_is_shown_is_understood(page: str) -> None:
    shown = re.findall(r"^lexigram-ray (.+?)(?:\s+#.*)?$", _page(page), re.MULTILINE)
    for line in shown:
        words = shlex.split(line)
        options = [word for word in words if word.startswith("-")]
        helped = CliRunner().invoke(app, [words[0], "--help"], obj=Invocation.begin(words))
        assert helped.exit_code == 0, line
        assert [option for option in options if option not in helped.output] == [], line


def test_every_setting_in_the_readme_exists_with_its_default() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| .+ \|$", _page("README.md"), re.MULTILINE)
    settings = {name: default for name, default in rows if "." in name}
    assert len(settings) > 10
    for name, default in settings.items():
        model: Any = WorkersConfig
        *sections, field = name.split(".")
        for section in sections:
            model = model.model_fields[section].annotation
        value = model.model_fields[field].default
        if value is not None:
            assert default.strip("`") == _written(value), name


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_root_holds_nothing_else() -> None:
    allowed = {
        "pyproject.toml", "lexigram_ray", "cluster", "tests", "notebooks", "configs", "README.md",
        "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "Makefile", "constraints.txt", ".ci",
        ".gitignore", ".pre-commit-config.yaml", ".git",
    }  # fmt: skip
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert {path.split("/")[0] for path in tracked} <= allowed
