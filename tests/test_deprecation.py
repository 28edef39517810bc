"""What is deprecated says so where it is used, and says what to use instead."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nodus
from nodus._deprecation import deprecated

INSIDE = str(Path(nodus.__file__).parent / "_imaginary.py")
MESSAGE = "Client.old() is deprecated since nodus-sdk 0.2.0: use Client.new() instead"


def define(source: str, file: str, **names: Any) -> Callable[..., None]:
    """A function `f` that Python takes to be written in a file."""
    exec(compile(source, file, "exec"), names)
    function: Callable[..., None] = names["f"]
    return function


def inside_the_package(depth: int, **options: Any) -> Callable[..., None]:
    """A function of the package that calls the helper through so many others of the package."""
    warn = functools.partial(deprecated, "Client.old()", instead="Client.new()", since="0.2.0", **options)
    function = define("def f(): inner()", INSIDE, inner=warn)
    for _ in range(depth):
        function = define("def f(): inner()", INSIDE, inner=function)
    return function


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_line_that_is_named_is_the_users(depth: int) -> None:
    """However many functions of the package there are between; it says what to use instead, and since when."""
    user = define("def f(call): call()", "a program of the user")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        user(inside_the_package(depth))

    assert [(each.filename, str(each.message)) for each in caught] == [("a program of the user", MESSAGE)]


def test_those_who_run_a_program_can_be_told() -> None:
    """Python hides a DeprecationWarning from them."""
    with pytest.warns(FutureWarning, match="use Client.new"):
        inside_the_package(0, category=FutureWarning)()
