"""Doing many things at once, in a pair: tasks, or threads."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

_Result = TypeVar("_Result")


async def async_together(calls: list[Callable[[], Awaitable[_Result]]]) -> list[_Result]:
    """Run all calls at the same time; give their results in the order given, or raise the first error."""
    results: dict[int, _Result] = {}
    errors: list[BaseException] = []

    async def run(place: int, call: Callable[[], Awaitable[_Result]]) -> None:
        try:
            results[place] = await call()
        except Exception as exc:
            errors.append(exc)

    async with anyio.create_task_group() as tasks:
        for place, call in enumerate(calls):
            tasks.start_soon(run, place, call)
    if errors:
        raise errors[0]
    return [results[place] for place in range(len(calls))]


def together(calls: list[Callable[[], _Result]], threads: int = 64) -> list[_Result]:
    """Run all calls in `threads` threads; give their results in the order given, or raise the first error."""
    results: dict[int, _Result] = {}
    errors: list[BaseException] = []
    todo = list(enumerate(calls))

    def work() -> None:
        while True:
            try:
                place, call = todo.pop()
            except IndexError:
                return
            try:
                results[place] = call()
            except Exception as exc:
                errors.append(exc)

    workers = [threading.Thread(target=work) for _ in range(min(threads, len(calls)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return [results[place] for place in range(len(calls))]
