"""Errors that the user can mend, and the line that tells of them."""

from __future__ import annotations


def one_line(said: object) -> str:
    """Return a text, or that of an error, without its line breaks."""
    return " ".join(str(said).split())


class UserError(ValueError):
    """What the user can mend; the message is one line that names option, value and remedy."""


class MissingFileError(FileNotFoundError, UserError):
    """A file or folder that the user named is not there."""


class AccessError(PermissionError, UserError):
    """A server refuses a request for want of a right."""


class ServerError(ConnectionError, UserError):
    """A server does not answer, or not as it should."""


class StorageError(OSError, UserError):
    """Files cannot be read or written where they should be."""


class MissingPackageError(ImportError, UserError):
    """A package that an option needs is not installed."""


def user_message(error: Exception) -> str | None:
    """Return the line that tells the user of an error; None for a bug.

    An error of the operating system about a file is the user's too. A text of several lines holds the
    traceback of another process, and is a bug.
    """
    text = str(error).strip()
    if "\n" in text:
        return None
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}" if isinstance(error, OSError) else None
