"""The manifest of a finished run, which is what makes a folder one."""

from __future__ import annotations

from emrl_ray.io.storage import Location, locate


def finished_manifest(uri: str) -> Location:
    """Return where the manifest of a screen's folder is; raises FileNotFoundError, in one line, without one."""
    place = locate(uri) / "manifest.json"
    if not place.is_file():
        raise FileNotFoundError(
            f"{uri}: no finished run there ({place.name} is missing); screen writes it at its end"
        )
    return place
