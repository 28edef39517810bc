"""Campaigns on real engines."""

from __future__ import annotations

from hosted.conftest import here, hosted

__all__ = ["here", "hosted"]
