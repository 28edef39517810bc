"""URLs of endpoints, read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_control.webhooks.urls import InvalidUrl, parse_url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/nodus",
        "//hooks.example.com/nodus",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/",
        "javascript://hooks.example.com/",
        "https:/hooks.example.com",
        "https:///nodus",
        "https://user@hooks.example.com/",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com@10.0.0.1/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:65536/",
        "https://hooks.example.com:/",
        "https://hooks.example.com:44x/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/a\nb",
        "https://hooks.example.com\n/",
        "https://hooks.example.com\\@10.0.0.1/",
        "https://hooks.example.com/\\x",
        "https://hooks.example.com/ä",
        "https://hooks.exämple.com/",
        "https://127。0。0。1/",
        "https://１２７.0.0.1/",
        "https://hooks%2eexample.com/",
        "https://%31%32%37.0.0.1/",
        "https://①②⑦.0.0.1/",
        "https://127.0.0.1../",
        "https://127.0.0.1%00.example.com/",
        "https://127.0.0.1%2f@example.com/",
        "https:\\\\127.0.0.1/",
        "https://[::1].example.com/",
        "https://0x100000000/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://[1.2.3.4]/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://-a.example.com/",
        "https://a..b/",
        "https://" + "a" * 64 + ".com/",
        "https://hooks.example.com/%zz",
        "https://hooks.example.com/" + "a" * 2048,
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(url: str) -> None:
    """Neither scheme, nor user info, nor characters, nor spellings that programs disagree about."""
    with pytest.raises(InvalidUrl):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "authority", "request_target", "is_address"),
    [
        ("https://hooks.example.com", "hooks.example.com", "/", False),
        ("HTTPS://Hooks.Example.COM./Nodus?a=1&b=%20", "hooks.example.com", "/Nodus?a=1&b=%20", False),
        ("https://hooks.example.com:8443/a%2Fb", "hooks.example.com:8443", "/a%2Fb", False),
        ("https://hooks.example.com:443/", "hooks.example.com", "/", False),
        ("http://127.1:8000/x", "127.0.0.1:8000", "/x", True),
        ("https://2130706433/", "127.0.0.1", "/", True),
        ("https://0x7f000001/", "127.0.0.1", "/", True),
        ("https://0177.0.0.1/", "127.0.0.1", "/", True),
        ("https://[0:0::1]:9000/", "[::1]:9000", "/", True),
        ("https://a/b/../c/./d/..", "a", "/c/", False),
        ("https://a/../../x", "a", "/x", False),
        ("https://a?q", "a", "/?q", False),
    ],
)
def test_what_is_sent_where(url: str, authority: str, request_target: str, is_address: bool) -> None:
    """Host and path are put into the one form that goes on the wire."""
    target = parse_url(url)

    assert (target.authority, target.request_target, target.is_address) == (authority, request_target, is_address)


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    """Whatever a customer sends, it is read or refused."""
    for url in (text, f"https://{text}", f"https://a/{text}"):
        try:
            target = parse_url(url)
        except InvalidUrl:
            continue
        assert target.request_target.startswith("/")
        assert target.request_target.isascii()
