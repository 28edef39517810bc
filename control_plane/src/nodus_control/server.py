"""The name that `serving.server` had before there were rooms, for programs of others; it goes with the next version."""

from .serving.server import Server

__all__ = ["Server"]
