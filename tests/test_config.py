"""Settings: argument, else environment, else default; whatever cannot work is refused before a byte is sent."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import nodus
from nodus._config import Settings
from nodus._httpx import httpx

KEY = "nk_test_7Z4dMfQ3"
SECRET = "sgn_9bfe14"


def resolve(environ: dict[str, str] | None = None, **arguments: Any) -> Settings:
    """Settings from these arguments, in this environment."""
    return Settings.resolve(environ={} if environ is None else environ, **arguments)


def code_of(environ: dict[str, str] | None = None, **arguments: Any) -> str:
    """The code of the error that these settings give."""
    with pytest.raises(nodus.ConfigurationError) as caught:
        resolve(environ, **arguments)

    assert (caught.value.attempts, caught.value.status_code) == (0, None)
    return caught.value.code


def test_defaults_are_the_manuals() -> None:
    """Given a key, nothing else has to be set."""
    assert resolve(api_key=KEY) == Settings(
        api_key=KEY,
        base_url="https://api.nodus.run",
        timeout=30.0,
        max_retries=2,
        total_timeout=None,
        max_connections=100,
        signing_secret=None,
    )


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        ("given", "set", "given"),
        (None, "set", "set"),
        ("given", None, "given"),
        (" given\n", None, "given"),
        (None, " set\r\n", "set"),
    ],
)
def test_the_key_comes_from_the_argument_else_from_the_environment(
    argument: str | None, variable: str | None, expected: str
) -> None:
    """White space around it is dropped, as files and CI secrets often end in a line break."""
    environ = {} if variable is None else {"NODUS_API_KEY": variable}

    assert resolve(environ, api_key=argument).api_key == expected


@pytest.mark.parametrize(
    ("argument", "variable"), [(None, None), (None, ""), (None, " \n"), ("", None), ("  ", None), ("", "set")]
)
def test_without_a_key_there_is_no_client(argument: str | None, variable: str | None) -> None:
    """An empty argument is a mistake; it does not fall back to another key."""
    environ = {} if variable is None else {"NODUS_API_KEY": variable}

    assert code_of(environ, api_key=argument) == "missing_api_key"


@pytest.mark.parametrize("key", ["nk test", "nk\r\nX-Evil: 1", "nk\0", "nké", "☃", b"nk_test", 7, ["nk_test"]])
def test_a_key_that_no_header_can_carry_is_refused(key: Any) -> None:
    """The error does not show the key."""
    with pytest.raises(nodus.ConfigurationError) as caught:
        resolve(api_key=key)

    assert caught.value.code == "invalid_api_key"
    assert str(key) not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ({"api_key": KEY}, {"NODUS_SIGNING_SECRET": SECRET}, None),
        ({"api_key": KEY, "signing_secret": "own"}, {"NODUS_SIGNING_SECRET": SECRET}, "own"),
        ({"api_key": KEY}, {"NODUS_API_KEY": KEY, "NODUS_SIGNING_SECRET": SECRET}, None),
        ({}, {"NODUS_API_KEY": KEY, "NODUS_SIGNING_SECRET": SECRET}, SECRET),
        ({}, {"NODUS_API_KEY": KEY, "NODUS_SIGNING_SECRET": SECRET + "\n"}, SECRET),
        ({"signing_secret": "own"}, {"NODUS_API_KEY": KEY, "NODUS_SIGNING_SECRET": SECRET}, "own"),
        ({}, {"NODUS_API_KEY": KEY, "NODUS_SIGNING_SECRET": ""}, None),
        ({}, {"NODUS_API_KEY": KEY}, None),
    ],
)
def test_a_secret_is_read_from_the_environment_only_where_the_key_is(
    arguments: dict[str, Any], environ: dict[str, str], expected: str | None
) -> None:
    """A secret belongs to a key: it must not sign for another."""
    assert resolve(environ, **arguments).signing_secret == expected


@pytest.mark.parametrize("secret", ["", "  ", b"sgn_1", 7])
def test_a_secret_that_cannot_sign_is_refused(secret: Any) -> None:
    """With an empty one, anybody could sign."""
    assert code_of(api_key=KEY, signing_secret=secret) == "invalid_signing_secret"


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        (None, None, "https://api.nodus.run"),
        (None, "", "https://api.nodus.run"),
        (None, "https://staging.nodus.run", "https://staging.nodus.run"),
        ("https://a.example", "https://b.example", "https://a.example"),
        ("https://a.example/", None, "https://a.example"),
        ("https://a.example///", None, "https://a.example"),
        ("https://a.example/nodus/", None, "https://a.example/nodus"),
        ("https://a.example/a%20b", None, "https://a.example/a%20b"),
        ("  https://a.example\n", None, "https://a.example"),
        ("HTTPS://a.example:8443", None, "https://a.example:8443"),
        ("https://[2001:db8::1]/x", None, "https://[2001:db8::1]/x"),
    ],
)
def test_the_base_url_comes_from_the_argument_else_the_environment_else_the_default(
    argument: str | None, variable: str | None, expected: str
) -> None:
    """It may have a path prefix, and ends without a slash."""
    environ = {} if variable is None else {"NODUS_BASE_URL": variable}

    assert resolve(environ, api_key=KEY, base_url=argument).base_url == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8787",
        "http://LOCALHOST",
        "http://api.localhost/x",
        "http://127.0.0.1",
        "http://127.8.9.10:1",
        "http://[::1]:8787",
    ],
)
def test_plain_http_is_for_loopback(url: str) -> None:
    """Nobody can overhear what does not leave the machine."""
    assert resolve(api_key=KEY, base_url=url).base_url.startswith("http://")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.nodus.run",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://[::]",
        "http://[2001:db8::1]",
        "http://mylocalhost",
    ],
)
def test_plain_http_to_another_host_is_refused(url: str) -> None:
    """Only `NODUS_ALLOW_INSECURE=1` in the environment lets a key travel unencrypted."""
    assert code_of(api_key=KEY, base_url=url) == "insecure_base_url"
    assert code_of({"NODUS_BASE_URL": url}, api_key=KEY) == "insecure_base_url"
    assert code_of({"NODUS_ALLOW_INSECURE": "0"}, api_key=KEY, base_url=url) == "insecure_base_url"
    assert resolve({"NODUS_ALLOW_INSECURE": "1"}, api_key=KEY, base_url=url).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "   ",
        "api.nodus.run",
        "//api.nodus.run",
        "ftp://api.nodus.run",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://:443",
        "https://a.example:x",
        "https://a.example:99999",
        "https://a.example:0",
        "https://a.example?x=1",
        "https://a.example/?",
        "https://a.example/#",
        "https://a.example/#x",
        "https://a.example/a b",
        "https://a.example/é",
        "https://é.example",
        "https://a b.example",
        "https://[::1",
        "https://[nonsense]",
        "https://a.example\\@evil.example",
        "https://user:pass@a.example",
        "https://user@a.example",
        "https://a.exa\r\nmple",
        7,
        b"https://a.example",
    ],
)
def test_a_base_url_that_cannot_work_is_refused(url: Any) -> None:
    """It is refused when the client is made, with a hint at what a URL looks like."""
    assert code_of(api_key=KEY, base_url=url) == "invalid_base_url"


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@a.example", "ftp://user:hunter2@a.example", "https://u:hunter2@"]
)
def test_a_password_in_a_base_url_is_not_shown(url: str) -> None:
    """Errors end up in logs."""
    with pytest.raises(nodus.ConfigurationError) as caught:
        resolve(api_key=KEY, base_url=url)

    assert "hunter2" not in str(caught.value)


def client_or_code(url: str) -> str:
    """The client that a base URL gives, as it shows itself, or the code of the error."""
    try:
        return repr(nodus.Client(KEY, base_url=url))
    except nodus.ConfigurationError as error:
        return error.code


@example(url="https://999.999.999.999")
@example(url="https://1.2.3")
@example(url="https://xn--a")
@example(url="https://[1::2::3]")
@given(
    url=st.text(max_size=40) | st.text(max_size=30).map("https://{}".format) | st.from_regex(r"https?://[ -~]{1,30}")
)
def test_any_base_url_gives_a_client_or_a_clear_error(url: str) -> None:
    """No exception of a URL parser gets through."""
    outcome = client_or_code(url)

    assert outcome in ("invalid_base_url", "insecure_base_url") or outcome.startswith("Client(base_url='http")


@pytest.mark.parametrize("name", ["timeout", "total_timeout"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf, "30", True, 1e7, 10**400, [1]], ids=repr)
def test_a_timeout_is_a_finite_number_of_seconds_above_zero(name: str, value: Any) -> None:
    """Any other value would show as a fault much later."""
    assert code_of(api_key=KEY, **{name: value}) == "invalid_configuration"


@pytest.mark.parametrize("value", [None, "30"])
def test_a_timeout_is_always_set(value: Any) -> None:
    """There is no call that may hang for ever."""
    assert code_of(api_key=KEY, timeout=value) == "invalid_configuration"


@pytest.mark.parametrize(("name", "least"), [("max_retries", 0), ("max_connections", 1)])
@pytest.mark.parametrize("value", [-1, 1.5, "2", None, True, math.nan])
def test_counts_are_whole_numbers(name: str, least: int, value: Any) -> None:
    """The least is zero or one, depending on the setting."""
    assert code_of(api_key=KEY, **{name: value}) == "invalid_configuration"
    assert getattr(resolve(api_key=KEY, **{name: least}), name) == least


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"timeout": 1}, {"timeout": 1.0}),
        ({"max_retries": 0}, {"max_retries": 0}),
        ({"total_timeout": 40}, {"total_timeout": 40.0}),
        ({"headers": {"X-A": "1"}}, {"extra_headers": (("X-A", "1"),)}),
    ],
)
def test_options_change_what_they_name_and_keep_the_rest(options: dict[str, Any], changes: dict[str, Any]) -> None:
    """A child of a client differs in these settings only."""
    settings = resolve(api_key=KEY, signing_secret=SECRET, timeout=7, max_retries=5, total_timeout=60)
    none = {"timeout": None, "max_retries": None, "total_timeout": None, "headers": None}

    changed = settings.changed(**{**none, **options})

    assert {name: getattr(changed, name) for name in changes} == changes
    assert all(getattr(changed, n) == getattr(settings, n) for n in Settings.__slots__ if n not in changes)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"max_retries": -1}, {"total_timeout": math.nan}])
def test_options_are_checked_like_settings(options: dict[str, Any]) -> None:
    """`with_options` obeys the same rules as the constructor."""
    with nodus.Client(KEY) as client, pytest.raises(nodus.ConfigurationError):
        client.with_options(**options)


def test_settings_do_not_show_credentials() -> None:
    """The repr of the client does not show them either."""
    settings = resolve(api_key=KEY, signing_secret=SECRET)
    client = nodus.Client(KEY, signing_secret=SECRET)

    for shown in (repr(settings), str(settings), repr(client), str(client)):
        assert KEY not in shown
        assert SECRET not in shown


@pytest.mark.parametrize("kind", [nodus.Client, nodus.AsyncClient])
def test_both_clients_read_the_process_environment(
    kind: type[nodus.Client | nodus.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read when a client is made, not when the library is imported."""
    with pytest.raises(nodus.ConfigurationError, match="NODUS_API_KEY"):
        kind()
    monkeypatch.setenv("NODUS_API_KEY", KEY)
    monkeypatch.setenv("NODUS_BASE_URL", "https://staging.nodus.run/x/")

    assert repr(kind()) == f"{kind.__name__}(base_url='https://staging.nodus.run/x')"


async def coroutine_function(event: object) -> None: ...


@pytest.mark.parametrize("hook", ["on_retry", "on_response"])
@pytest.mark.parametrize("kind", [nodus.Client, nodus.AsyncClient])
@pytest.mark.parametrize("function", [coroutine_function, "print"])
def test_a_hook_is_a_plain_function(kind: Any, hook: str, function: object) -> None:
    """A coroutine function would never be run, and nobody would know."""
    with pytest.raises(nodus.ConfigurationError, match=f"`{hook}`"):
        kind(KEY, **{hook: function})


class OtherKind:
    """An HTTP client of somebody's own, to be awaited."""

    async def send(self, request: object, *, follow_redirects: bool) -> object: ...


@pytest.mark.parametrize(
    ("kind", "http_client"),
    [(nodus.Client, OtherKind), (nodus.Client, httpx.AsyncClient), (nodus.AsyncClient, httpx.Client)],
)
def test_a_client_refuses_what_sends_in_the_other_way(kind: Any, http_client: Any) -> None:
    """Otherwise the mistake would show with the first request only, as an error about coroutines."""
    with pytest.raises(nodus.ConfigurationError, match=rf"such as an `httpx\.{kind.__name__}`"):
        kind("nk_test_7Z4dMfQ3", http_client=http_client())
