"""The name that `api.app` had before there were rooms, for programs of others; it goes with the next version."""

from .api.app import create_app

__all__ = ["create_app"]
