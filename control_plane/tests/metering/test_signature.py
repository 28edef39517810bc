"""Stripe's signatures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metering.fake_stripe import SECRET, sign

from nodus_control.metering.signature import is_signed

NOW = 1_800_000_000
BODY = b'{"id":"evt_1"}'
GOOD = sign(BODY, NOW)
SIGNATURE = GOOD.partition("v1=")[2]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (GOOD, True),
        (GOOD.replace(",", ", "), True),
        (f"{GOOD},v1={'0' * 64}", True),
        (f"t={NOW},v1={'0' * 64},v1={SIGNATURE},v0=1", True),
        (sign(BODY, NOW - 300), True),
        (sign(BODY, NOW + 300), True),
        (sign(BODY, NOW - 301), False),
        (sign(BODY, NOW + 301), False),
        (sign(BODY + b" ", NOW), False),
        (sign(BODY, NOW, "whsec_other"), False),
        (f"t={NOW},v0={SIGNATURE}", False),
        (f"t={NOW + 1},v1={SIGNATURE}", False),
        (f"t={NOW},t={NOW},v1={SIGNATURE}", False),
        (f"v1={SIGNATURE}", False),
        (f"t=x,v1={SIGNATURE}", False),
        (f"t={NOW}", False),
        ("", False),
        (None, False),
    ],
)
def test_a_signature_is_that_of_these_bytes_and_of_now(header: str | None, expected: bool) -> None:
    """Within 300 s, one way and the other."""
    assert is_signed(BODY, header, [SECRET], NOW) is expected


def test_while_a_secret_is_being_replaced_either_will_do() -> None:
    """And without a secret nothing is signed."""
    assert is_signed(BODY, GOOD, ["whsec_new", SECRET], NOW)
    assert not is_signed(BODY, GOOD, [], NOW)


@given(st.text(max_size=80))
def test_no_header_is_an_error(header: str) -> None:
    """Whatever it is, it is not a signature."""
    assert not is_signed(BODY, header, [SECRET], NOW)
