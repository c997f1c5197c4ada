"""What drawing needs and a plain installation has not."""

from __future__ import annotations

from importlib import import_module


def need_extra(*modules: str, extra: str = "report") -> None:
    """Raise ImportError, in one line that says what to install, unless `modules` are there."""
    for name in modules:
        try:
            import_module(name)
        except ImportError:
            raise ImportError(
                f"{name} is not installed: pip install 'emrl-ray[{extra}]'", name=name
            ) from None
