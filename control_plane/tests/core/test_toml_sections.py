"""Reading values one by one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.suppliers_file import EnvReference, FileReference
from nodus_core.toml import read_toml
from nodus_core.toml_lines import lines_of
from nodus_core.toml_sections import Findings, Problem, Section, as_micros, as_number, as_reference


def section_of(text: str) -> tuple[Section, Findings]:
    """A document as a section, and where its mistakes go."""
    findings = Findings(lines_of(text))
    return Section(findings, read_toml(text, Decimal), (), "here"), findings


@given(st.integers(0, 10**12))
def test_prices_are_exact(micros: int) -> None:
    """A price is what its decimals say, not the nearest double."""
    assert as_micros(Decimal(micros).scaleb(-6)) == micros


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0", 0),
        ("0.0", 0),
        ("-0.0", 0),
        ("1.10", 1_100_000),
        ("1.1000000000", 1_100_000),
        ("1_0.5", 10_500_000),
        ("2.5e-1", 250_000),
        ("1000000", 10**12),
        ("0.0000001", None),
        ("1000000.000001", None),
        ("-0.01", None),
        ("1e999999999", None),
        ("1e-999999999", None),
        ("0." + "1" * 40, None),
        ("nan", None),
        ("inf", None),
        ("true", None),
        ('"1.10"', None),
    ],
)
def test_what_is_a_price_and_what_is_none(written: str, expected: int | None) -> None:
    """Zero is one; what has more than six decimals, is negative, huge or no number is none."""
    assert as_micros(read_toml(f"price = {written}", Decimal)["price"]) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("env:NAME", EnvReference("NAME")),
        ("file:/etc/nodus/key", FileReference("/etc/nodus/key")),
        ("file:key", None),
        ("file:/a\nb", None),
        ("env:", None),
        ("env:A B", None),
        ("hunter2", None),
        (5, None),
    ],
)
def test_references(written: object, expected: object) -> None:
    """A reference names an environment variable or a file; nothing else is one."""
    assert as_reference(written) == expected


def test_a_reference_is_written_as_it_was_read() -> None:
    """What messages say of it is what the operator wrote."""
    assert [str(as_reference(each)) for each in ("env:A", "file:/b")] == ["env:A", "file:/b"]


@pytest.mark.parametrize("value", [True, "1", Decimal("nan"), Decimal("inf"), Decimal("1e400"), 10**400, None])
def test_what_is_no_finite_number(value: object) -> None:
    """Booleans are not counted as numbers, and neither is what a double cannot hold."""
    assert as_number(value) is None


def test_what_is_wrong_is_read_as_the_default() -> None:
    """So that reading goes on to the next mistake, and each has its line."""
    section, findings = section_of("a = 1\nb = 1\nc = 1.5\nd = -1\ne = 1\nf = [1]\ng = 1\nh = 'x'\nj = 3\n")
    read = (
        section.boolean("a"),
        section.choice("b", ["x", "y"], "x"),
        section.integer("c", (0, 5), 4),
        section.number("d", 5, None),
        section.gibibytes("h", None),
        section.section("e", "inside").has("x"),
        section.reference("missing", "the key"),
        section.reference("g", "the key"),
    )
    section.close()

    assert read == (False, "x", 4, None, None, False, None, None)
    assert sorted(problem.line for problem in findings.problems) == [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_an_unknown_key_is_reported_with_the_nearest_one() -> None:
    """And not with its value, which may be a secret that was meant for elsewhere."""
    section, findings = section_of("endpont = 'hunter2'\n\"a b\" = 'hunter2'\n")
    section.take("endpoint")
    section.close()

    assert findings.problems == [
        Problem(1, "here: `endpont` is no key here: the keys are `endpoint`. Did you mean `endpoint`?"),
        Problem(2, "here: there is an unknown key here: the keys are `endpoint`."),
    ]
