"""Pages of listings of jobs: whole, and at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from . import _bodies
from ._enums import JobStatus
from ._models import JobView


class JobGlance(BaseModel):
    """The part of a `JobView` that changes whenever anything does."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: str
    status: JobStatus
    supplier: str | None = None
    attempts: int | None = None

    def agrees_with(self, view: JobView) -> bool:
        """Whether a view is still up to date."""
        return (self.status, self.supplier, self.attempts) == (view.status, view.supplier, view.attempts)


def bounded_list(item: type[BaseModel]) -> Any:
    """The type of a list that is as long as a page may be; reading one stops at the first item that is wrong."""
    kind: Any = Annotated[list[item], Field(max_length=_bodies.MAX_PAGE_ITEMS)]  # type: ignore[valid-type]  # made here
    return Annotated[kind, pydantic.FailFast()] if hasattr(pydantic, "FailFast") else kind  # since pydantic 2.8


class JobGlances(BaseModel):
    """One page of a listing, at a glance."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    if TYPE_CHECKING:
        jobs: list[JobGlance]
    else:
        jobs: bounded_list(JobGlance)
    next_cursor: str | None = None


class JobPage(BaseModel):
    """One page of a listing."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    if TYPE_CHECKING:
        jobs: list[JobView]
    else:
        jobs: bounded_list(JobView)
    next_cursor: str | None = None
