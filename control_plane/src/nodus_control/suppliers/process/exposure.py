"""Secrets in this process's environment, where the commands of jobs could read them.

A command that runs as the same user may read the environment of whatever that user started: of a worker while it
starts, and of the shell that it was started from for as long as that lives. So a worker without another account for
commands takes its secrets from files, and the commands are kept from these where that can be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import sqlalchemy.exc
from sqlalchemy.engine import make_url

from nodus_ledger.database.database import DATABASE_VARIABLE
from nodus_ledger.database.redis_store import REDIS_VARIABLE
from nodus_ledger.database.sealing import KEY_VARIABLE
from nodus_ledger.database.url_files import file_of
from nodus_ledger.trust.signing import SIGNING_KEY_VARIABLE

from ...stripe_settings import SECRET_VARIABLES
from .options import ProcessOptions

_KEYS = (KEY_VARIABLE, SIGNING_KEY_VARIABLE, *SECRET_VARIABLES)
_URLS = (DATABASE_VARIABLE, REDIS_VARIABLE)
_PASSWORDS = ("PGPASSWORD",)


def exposed(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that hold a secret themselves, and do not name a file of it."""
    names = [name for name in _KEYS if environment.get(name) and file_of(environment[name]) is None]
    names += [name for name in _URLS if _has_password(environment.get(name, ""))]
    return names + [name for name in _PASSWORDS if environment.get(name)]


def secret_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files that variables name for secrets."""
    paths = (file_of(environment.get(name, "")) for name in (*_KEYS, *_URLS))
    return tuple(path.absolute() for path in paths if path is not None)


def require_nothing_exposed(options: ProcessOptions, environment: Mapping[str, str]) -> None:
    """Check that commands cannot read a secret in the environment.

    Raises:
        RuntimeError: they run as this user, and there is one.
    """
    names = exposed(environment) if options.user is None else []
    if names:
        raise RuntimeError(
            f"commands of jobs run as the same user, and could read {' and '.join(names)}: give "
            'file:PATH of a file that holds it, or, as root, commands another account (`user = "…"` in '
            "[supplier.process]; nodus playground: --process-user)"
        )


def _has_password(url: str) -> bool:
    if not url or file_of(url) is not None:
        return False
    try:
        parsed = make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return False  # Whoever opens it says what is wrong with it.
    # As an option too: libpq takes `password=` and `sslpassword=`.
    return parsed.password is not None or any("password" in name for name in parsed.query)
