"""What a job's program printed, made fit for a terminal: colours pass, what else would steer the terminal is shown."""

from __future__ import annotations

import re

# Colours and other attributes of characters (ECMA-48, SGR), with no more parameters than anybody needs.
_SGR = re.compile(r"\x1b\[[0-9;:]{0,64}m")
_BEGINNING_OF_SGR = re.compile(r"\x1b(?:\[[0-9;:]{0,64})?\Z")
# Controls but for line breaks and tabs, what breaks lines besides them, and what reorders text (Unicode TR 9).
_STEERING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
_RESET = "\x1b[0m"


class ProgramText:
    """Escapes a text piece by piece, wherever it is cut."""

    def __init__(self) -> None:
        self._held = ""
        self._coloured = False

    def feed(self, piece: str) -> str:
        """Return what can be shown after another piece; the beginning of a colour is held back until its end comes."""
        text = self._held + piece
        beginning = _BEGINNING_OF_SGR.search(text)
        self._held = "" if beginning is None else text[beginning.start() :]
        return self._shown(text[: len(text) - len(self._held)])

    def end(self) -> str:
        """Return what is left to show; the colours do not outlast the text."""
        rest, self._held = _escaped(self._held), ""
        return rest + _RESET if self._coloured else rest

    def _shown(self, text: str) -> str:
        shown, at = [], 0
        for colour in _SGR.finditer(text):
            self._coloured = True
            shown += [_escaped(text[at : colour.start()]), colour[0]]
            at = colour.end()
        return "".join([*shown, _escaped(text[at:])])


def _escaped(text: str) -> str:
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
