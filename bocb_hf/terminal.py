"""Output that every terminal can show, whatever its encoding."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

_HANDLER = "bocb_readable"
_PLAIN = {
    "±": "+-",
    "×": "x",
    "−": "-",
    "–": "-",
    "—": "-",
    "·": "*",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "→": "->",
    "←": "<-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "epsilon",
    "η": "eta",
    "λ": "lambda",
    "μ": "u",
    "µ": "u",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
    "ω": "omega",
    "Δ": "Delta",
    "Σ": "Sigma",
    "√": "sqrt",
    "∞": "inf",
    "°": " degrees",
    "★": "*",
    "☆": "~",
}


def make_streams_readable() -> None:
    """Makes standard output and standard error write what their encoding lacks in plain ASCII.

    Without this, one ``±`` ends a command in a traceback where the encoding is ASCII, Latin-1 or cp1252. A sign becomes
    what a reader takes for it (``±`` becomes ``+-``, ``×`` becomes ``x``, ``−`` becomes ``-``), an accented letter its
    plain one, and everything else its escape, such as ``\\u4e2d``. Characters that the encoding has stay as they are;
    in UTF-8 only half a surrogate pair, as in a file name of unknown encoding, is escaped. Every process that prints
    calls this once, before it prints: the commands, the recipes, and the workers of a sweep.
    """
    codecs.register_error(_HANDLER, _substitute)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _substitute(error: UnicodeError) -> tuple[str, int]:
    """The error handler: what to write for the characters that cannot be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    """Returns what stands for a character in ASCII."""
    if character in _PLAIN:
        return _PLAIN[character]
    parts = (_PLAIN.get(part, part) for part in unicodedata.normalize("NFKD", character))
    plain = "".join(part for part in parts if part.isascii())
    return plain or character.encode("ascii", "backslashreplace").decode("ascii")
