"""Texts as a table can hold them: what is no UTF-8 is replaced or escaped."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return a text fit for UTF-8: bytes that were none replaced, lone surrogates escaped.

    The former are surrogates of PEP 383 and stand for bytes of a file or a name, the others come from JSON,
    which may write half of a pair such as ``\ud800``.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
