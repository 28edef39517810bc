"""What operators say about limits on the command line."""

from __future__ import annotations

import asyncclick

from nodus_core.rate_limits import KEY_LIMIT, parse_rate_limit, rate_limit_text

from .client_address import parse_networks


class RateLimitType(asyncclick.ParamType):  # type: ignore[type-arg]  # generic in some versions, and not in others
    """`N/s`, `N/s:BURST` or `off`."""

    name = "N/s[:BURST]|off"

    def convert(self, value: object, param: asyncclick.Parameter | None, ctx: asyncclick.Context | None) -> str:
        """Check it; return it as it was given."""
        try:
            parse_rate_limit(str(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        return str(value)


class NetworkType(asyncclick.ParamType):  # type: ignore[type-arg]  # generic in some versions, and not in others
    """A network or an address."""

    name = "CIDR"

    def convert(self, value: object, param: asyncclick.Parameter | None, ctx: asyncclick.Context | None) -> str:
        """Check it; return it as it was given."""
        try:
            parse_networks([str(value)])
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        return str(value)


rate_limit_option = asyncclick.option(
    "--rate-limit",
    type=RateLimitType(),
    default=rate_limit_text(KEY_LIMIT),
    show_default=True,
    help="How many requests a second each key may send, and how many at once. A key may have a limit of its own.",
)

rate_limit_if_asked_option = asyncclick.option(
    "--rate-limit",
    type=RateLimitType(),
    default="off",
    show_default=True,
    help="How many requests a second each key may send, and how many at once.",
)

trusted_proxy_option = asyncclick.option(
    "--trusted-proxy",
    "trusted_proxies",
    type=NetworkType(),
    multiple=True,
    help="Believe the last address that this network's proxies write into X-Forwarded-For. Repeatable.",
)
