"""Objects that hold a client's connections refuse to be copied or pickled."""

from __future__ import annotations

from typing import ClassVar, NoReturn


class ClientBound:
    """Cannot be copied or pickled: two that share connections would close them for each other.

    Attributes:
        _instead: what to do, for the error.
    """

    __slots__ = ()

    _instead: ClassVar[str] = "make another from the client where you need it"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse, in the name of the class, with a way out."""
        kind = type(self).__name__
        raise TypeError(f"cannot copy or pickle a {kind}, which holds its client's connections: {self._instead}")
