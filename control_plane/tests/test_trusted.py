"""Certificates that are loaded once."""

from __future__ import annotations

import ssl

import certifi


def test_the_authorities_of_the_world_are_loaded_once() -> None:
    """And are checked against as ever."""
    first, second = (ssl.create_default_context(cafile=certifi.where()) for _ in range(2))

    assert first is second
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert first.check_hostname
    assert first.get_ca_certs()


def test_other_contexts_are_nobody_elses() -> None:
    """Each of them is made anew."""
    assert ssl.create_default_context() is not ssl.create_default_context()
