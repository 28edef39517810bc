"""On which line each key of a TOML document stands."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.toml import read_toml
from nodus_core.toml_lines import Path, line_at, lines_of

DOCUMENT = '''\
# [not.a.table] = 1
title = "a # b" # a comment with "quotes" and [brackets]
"quoted \\"key\\"" = 1
'literal key' = 1
dotted . "key" = 1979-05-27 07:32:00
text = """
not = "a key"
four quotes at the end:""""
other = \'\'\'
[neither]\'\'\'
list = [ # a comment, with a comma ]
  1,
  [ "a]", 'b' ], # another

  { x = 1, y.z = [2] },
]

[a.b]
c = { }
[[a.items]]
d = 1
[a.items.e]
f = 1
[[a.items]]
d = -1e5
[[a.items.e]]
[[a.items.e]]
f = true
[a]
after = 1
'''

EXPECTED: dict[Path, int] = {
    ("title",): 2,
    ('quoted "key"',): 3,
    ("literal key",): 4,
    ("dotted",): 5,
    ("dotted", "key"): 5,
    ("text",): 6,
    ("other",): 9,
    ("list",): 11,
    ("list", 0): 12,
    ("list", 1): 13,
    ("list", 1, 1): 13,
    ("list", 2): 15,
    ("list", 2, "y"): 15,
    ("list", 2, "y", "z", 0): 15,
    ("a", "b"): 18,
    ("a", "b", "c"): 19,
    ("a", "items"): 20,
    ("a", "items", 0): 20,
    ("a", "items", 0, "d"): 21,
    ("a", "items", 0, "e"): 22,
    ("a", "items", 0, "e", "f"): 23,
    ("a", "items", 1): 24,
    ("a", "items", 1, "d"): 25,
    ("a", "items", 1, "e", 0): 26,
    ("a", "items", 1, "e", 1): 27,
    ("a", "items", 1, "e", 1, "f"): 28,
    ("a",): 29,
    ("a", "after"): 30,
}


def paths_of(value: Any, path: Path = ()) -> set[Path]:
    """Every path in a parsed document."""
    inside: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return {path}.union(*(paths_of(each, (*path, name)) for name, each in inside))


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_key_is_on_the_line_on_which_it_begins(ending: str) -> None:
    """Whatever stands in comments and texts, and however lines end."""
    lines = lines_of(DOCUMENT.replace("\n", ending))

    assert {path: lines[path] for path in EXPECTED} == EXPECTED


def test_everything_that_a_parser_finds_has_a_line() -> None:
    """And nothing else has."""
    assert set(lines_of(DOCUMENT)) == paths_of(read_toml(DOCUMENT))


def test_what_has_no_line_of_its_own_is_where_its_surroundings_are() -> None:
    """A missing key is reported at its table."""
    lines = lines_of(DOCUMENT)

    assert line_at(lines, ("a", "b", "missing", 3)) == 18
    assert line_at(lines, ("missing",)) == 1


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
scalars = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers(-(10**9), 10**9).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-1000, max_value=1000, places=3).map(str),
    st.sampled_from(["inf", "0x_f".replace("_", ""), "07:32:00", '""', "''", "'#'", '"]}"', '"\\\\"', "'\\'"]),
    st.sampled_from(['"""\n\n"""', "'''a\n'b'\n'''", '"""\\""""', '"""a""b"""""', "''''a'''''"]),
)


def quoted(name: str) -> str:
    """A key as a basic string."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays over several lines, with comments."""
    gaps = st.sampled_from(["", " ", "\n", " # ],\n"])
    return st.builds(lambda items, gap: f"[{gap}{f'{gap},{gap}'.join(items)}{gap}]", st.lists(values, max_size=3), gaps)


def inline_tables(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Tables in braces, on one line but for what their values break."""
    return st.dictionaries(names, values, max_size=3).map(
        lambda items: "{ " + ", ".join(f"{quoted(name)} = {value}" for name, value in items.items()) + " }"
    )


values = st.recursive(scalars, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=8)


@given(st.dictionaries(names, values, max_size=4), st.lists(st.dictionaries(names, values, max_size=3), max_size=3))
def test_lines_are_found_in_any_document(head: dict[str, str], items: list[dict[str, str]]) -> None:
    """Each key is found where it was written, behind whatever came before it."""
    head = {f"k{name}": value for name, value in head.items()}
    text = ""
    expected: dict[Path, int] = {}
    for name, value in head.items():
        expected[(name,)] = text.count("\n") + 1
        text += f"{quoted(name)} = {value}\n"
    for position, item in enumerate(items):
        expected["items", position] = text.count("\n") + 1
        text += "[[items]] # an item\n"
        for name, value in item.items():
            expected["items", position, name] = text.count("\n") + 1
            text += f"\t{quoted(name)}={value}\n\n"
    lines = lines_of(text)

    assert set(lines) == paths_of(read_toml(text, Decimal))
    assert {path: lines[path] for path in expected} == expected
