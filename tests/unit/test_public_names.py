"""What `import lexigram_ray` gives, and what it must not cost."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import lexigram_ray
from tests.command_line import clean_environment

# Each of them takes longer to import than the whole package may.
HEAVY = ("torch", "ray", "pyarrow", "numpy", "lance", "openvino", "pydantic", "rich", "typer")


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_else() -> None:
    modules = modules_after("import lexigram_ray")

    assert not modules.intersection(HEAVY)
    assert {name for name in modules if name.startswith("lexigram_ray")} == {"lexigram_ray"}


def test_the_functions_import_neither_ray_nor_torch_before_they_are_called() -> None:
    modules = modules_after("from lexigram_ray import embed, search, EmbedResult, SearchResult")

    assert not modules.intersection({"ray", "torch", "lance", "openvino", "pandas", "IPython"})


@pytest.mark.parametrize("name", lexigram_ray.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    value = getattr(lexigram_ray, name)

    assert name in dir(lexigram_ray)
    assert isinstance(value, str) or inspect.getdoc(value)


def test_the_type_checker_and_the_interpreter_see_the_same_names() -> None:
    source = inspect.getsource(lexigram_ray)
    for_types = source.split("if TYPE_CHECKING:")[1].split("__version__")[0]
    homes = lexigram_ray._HOMES

    assert set(homes) == set(lexigram_ray.__all__) - {"__version__"}
    for name, home in homes.items():
        line = next(line for line in for_types.splitlines() if f"from {home} import" in line)
        assert name in line.replace(",", " ").split(), name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'embbed'"):
        lexigram_ray.embbed  # type: ignore[attr-defined]  # noqa: B018
