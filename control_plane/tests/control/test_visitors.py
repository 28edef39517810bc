"""Who may see a page that holds keys: codes that work once, and sessions of two secrets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from nodus_control.playground.visitors import Visitors

PROOF = "a" * 32


def test_a_code_works_once() -> None:
    """Whoever comes second with it gets nothing, and ends nobody's session."""
    visitors = Visitors()
    code = visitors.new_code()
    cookie = visitors.exchange(code, PROOF)
    assert cookie is not None

    assert visitors.exchange(code, PROOF) is None
    assert visitors.admits(cookie, PROOF)


def test_of_many_at_once_one_enters() -> None:
    """A token opens one session, however many present it at the same time."""
    visitors = Visitors()
    code = visitors.new_code()
    with ThreadPoolExecutor(8) as threads:
        cookies = list(threads.map(lambda _: visitors.exchange(code, PROOF), range(64)))

    assert sum(cookie is not None for cookie in cookies) == 1


@pytest.mark.parametrize("proof", ["b" * 32, "", "\ud800"])
def test_neither_half_opens_anything_alone(proof: str) -> None:
    """The cookie goes to every port of the host, the proof to none but the page's own."""
    visitors = Visitors()
    cookie = visitors.exchange(visitors.new_code(), PROOF)
    assert cookie is not None

    assert not visitors.admits(cookie, proof)
    assert not visitors.admits("", PROOF)
    assert not visitors.admits(proof, PROOF)


def test_a_session_is_another_playgrounds_neither() -> None:
    """Nor are its cookies of the same name."""
    one, other = Visitors(), Visitors()
    cookie = one.exchange(one.new_code(), PROOF)
    assert cookie is not None

    assert not other.admits(cookie, PROOF)
    assert other.exchange(one.new_code(), PROOF) is None
    assert one.cookie_name != other.cookie_name
