"""The same work in this process and on Ray: bytes and seconds of ingest, train and screen on HOIP.

    python -m benchmarks.speed.engines --data DATA --work FOLDER

DATA holds `hoip_cifs.tar.gz`. Each command runs as a user would call it, a process of its own, and its
whole time counts. Files of both engines are compared byte by byte; of manifests, what an engine may
change is left out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emrl_ray.io.runtime import hardware_info, package_versions

RESULT = Path(__file__).parents[1] / "results" / "engines.json"
ENGINES = ("local", "ray")
WINDOW = "1.0:2.0"
FREE = {"date", "seconds", "throughput", "peak_memory_bytes", "machine", "engine"}
"""Entries of manifests that an engine may change."""
ROUNDS = 3


def commands(data: Path, folder: Path, epochs: int) -> dict[str, str]:
    """Return the words of each command, which is called in `folder`."""
    source, targets = data / "hoip_cifs.tar.gz", folder.parent / "id_prop.csv"
    return {
        "ingest": f"ingest {source} --targets {targets} --target-names band_gap --out crystals",
        "train": "train crystals --target band_gap --preset HOIP --test 0.2 "
        f"--epochs {epochs} --out model",
        "screen": f"screen model crystals --target-window {WINDOW} --out run",
    }


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Return the seconds until the first line of a command, called in `folder`, and until its end."""
    began = time.monotonic()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        print(process.stdout.readline(), end="")
        first = time.monotonic() - began
        print(process.stdout.read(), end="")
    assert process.returncode == 0, command
    return round(first, 2), round(time.monotonic() - began, 2)


def differing(one: Path, other: Path) -> list[str]:
    """Return the names of files that are not the same in both folders, manifests but for `FREE`."""
    names = {str(file.relative_to(root)) for root in (one, other) for file in root.rglob("*")}
    files = [name for name in sorted(names) if not (one / name).is_dir()]
    return [name for name in files if _content(one / name, one) != _content(other / name, other)]


def _content(file: Path, root: Path) -> bytes:
    """Return what a file holds, as if it lay in no folder in particular."""
    if not file.exists():
        return b"absent"
    if file.suffix != ".json":
        return file.read_bytes().replace(str(root).encode(), b"FOLDER")
    content = json.loads(file.read_text().replace(str(root), "FOLDER"))
    return json.dumps(_without(content)).encode()


def _without(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {key: _without(value) for key, value in content.items() if key not in FREE}


def main() -> None:
    """Run, compare, and write the figures as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of hoip_cifs.tar.gz")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    with tarfile.open(options.data / "hoip_cifs.tar.gz") as archive:
        (member,) = (name for name in archive.getnames() if name.endswith("id_prop.csv"))
        content = archive.extractfile(member)
        assert content is not None
        (options.work / "id_prop.csv").write_bytes(content.read())
    seconds: dict[str, dict[str, list[float]]] = {}
    first_line: dict[str, dict[str, list[float]]] = {}
    figures: dict[str, Any] = {"machine": hardware_info(), "versions": package_versions()}
    figures |= {"epochs": options.epochs, "seconds": seconds, "first_line_seconds": first_line}
    for number in range(ROUNDS):
        for engine in ENGINES:
            folder = options.work.resolve() / f"{number}-{engine}"
            folder.mkdir()
            for name, words in commands(options.data, folder, options.epochs).items():
                command = [sys.executable, "-m", "emrl_ray", *words.split(), "--engine", engine]
                first, whole = timed(command, folder)
                first_line.setdefault(name, {}).setdefault(engine, []).append(first)
                seconds.setdefault(name, {}).setdefault(engine, []).append(whole)
        roots = [options.work / f"{number}-{engine}" for engine in ENGINES]
        figures["files"] = sum(file.is_file() for file in roots[0].rglob("*"))
        figures["differing"] = differing(*roots)
        pages = [
            re.split("<dt>|<caption>|<summary>", (root / "run" / "report.html").read_text())
            for root in roots
        ]
        figures["report"] = sorted(
            {part.split("<")[0] for part, other in zip(*pages, strict=True) if part != other}
        )
        RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
