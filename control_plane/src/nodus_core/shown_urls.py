"""A URL as it may be shown: what stands in its query may be a token."""

from __future__ import annotations

HIDDEN = "***"
"""What stands in the place of a value."""


def without_query_values(url: str) -> str:
    """Return a URL with the names in its query, but not their values.

    >>> without_query_values("https://hooks.example.com/p?token=secret&x")
    'https://hooks.example.com/p?token=***&***'
    """
    before, mark, query = url.partition("?")
    return before + mark + "&".join(map(_without_value, query.split("&")))


def _without_value(parameter: str) -> str:
    name, equals, _value = parameter.partition("=")
    if not equals:
        # It could be a name or a value.
        return HIDDEN if parameter else ""
    return f"{name}={HIDDEN}"
