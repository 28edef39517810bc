"""What holds a client's connections can be neither copied nor pickled."""

from __future__ import annotations

import copy
import pickle

import pytest

from nodus._handles import ClientBound


class Handle(ClientBound):
    """A handle that says what to do instead."""

    _instead = "keep its id"


class Plain(ClientBound):
    """One that does not."""


@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_the_error_names_the_class_and_a_way_out(act: object) -> None:
    """Two handles on the same connections would close them for each other."""
    with pytest.raises(TypeError, match=r"cannot copy or pickle a Handle, .*: keep its id"):
        act(Handle())  # type: ignore[operator]
    with pytest.raises(TypeError, match=r"Plain, .*: make another from the client"):
        act(Plain())  # type: ignore[operator]
