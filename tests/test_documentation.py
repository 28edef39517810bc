"""The examples in docstrings and pages do what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import api_reference
import nodus

ROOT = Path(__file__).resolve().parents[1]
MODULES = [info.name for info in pkgutil.walk_packages(nodus.__path__, "nodus.") if not info.name.endswith("__main__")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page_name(page: Path) -> str:
    """How a page is called in a test's name."""
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_tell_the_truth(module: str) -> None:
    """The examples after `>>>` print what the docstring shows."""
    results = doctest.testmod(importlib.import_module(module))

    assert results.failed == 0


def test_there_are_examples_to_check() -> None:
    """Without examples, the test above would always pass."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]

    assert len(examples) > 0


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_pages_tell_the_truth(page: Path) -> None:
    """The sessions on the pages print what the page shows."""
    results = doctest.testfile(str(page), module_relative=False, encoding="utf-8")

    assert results.failed == 0


def test_the_reference_is_what_the_code_says() -> None:
    """If it fails, run `python tools/api_reference.py`."""
    assert api_reference.PAGE.read_text(encoding="utf-8") == api_reference.page()


def test_the_reference_has_every_public_name_once() -> None:
    """A new name has to be given a place on the page."""
    named = [name for names in api_reference.PARTS.values() for name in names]

    assert sorted(named) == sorted(set(nodus.__all__) - {"__version__"})


def test_every_public_name_says_what_it_is() -> None:
    """`help()` shows a docstring for each of its methods and properties."""
    silent = []
    for name in set(nodus.__all__) - {"__version__"}:
        thing = getattr(nodus, name)
        members = [] if not isinstance(thing, type) else [one for one in dir(thing) if one in vars(thing)]
        described = [thing, *(getattr(thing, one) for one in members if not one.startswith("_"))]
        silent += [one for one in described if callable(one) and not inspect.getdoc(one)]

    assert silent == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_code_on_pages_is_python_and_uses_public_names(page: Path) -> None:
    """Every block marked as Python parses, and every `nodus.name` in it is there."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    blocks = [block for block in blocks if not block.lstrip().startswith(">>>")]
    names = set()
    for block in blocks:
        # A snippet may await outside of a function, as a notebook does.
        tree = compile(block, page.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nodus"
        }

    assert {name for name in names if not hasattr(nodus, name)} == set()
