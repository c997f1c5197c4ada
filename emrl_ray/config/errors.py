"""What is told of an error: a line for what the user can mend, nothing for a bug."""

from __future__ import annotations

import linecache


def one_line(said: object) -> str:
    """Return a text, or that of an error, without its line breaks."""
    return " ".join(str(said).split())


def user_message(error: Exception) -> str | None:
    """Return the line that tells the user of `error`; None for a bug.

    What this package raises on purpose is for the user, and so is what the operating system says of
    a file. Any other ValueError is a bug, and so is what comes from another process (its text
    holds a traceback).
    """
    text = str(error).strip()
    if "\n" in text:
        return None
    if isinstance(error, UserError) or _raised_here(error):
        return text
    return f"{type(error).__name__}: {text}" if isinstance(error, OSError) else None


def _raised_here(error: Exception) -> bool:
    """Return whether a `raise` statement of this package raised `error`."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    if frame is None or not frame.tb_frame.f_globals["__name__"].startswith("emrl_ray."):
        return False
    line = linecache.getline(frame.tb_frame.f_code.co_filename, frame.tb_lineno)
    return line.strip().startswith("raise ")


class UserError(ValueError):
    """A configuration that cannot be run; the message names the option, value and choices."""
