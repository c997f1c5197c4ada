"""The order of the rooms, and what may be imported without what."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "emrl_ray"


def modules(*rooms: str) -> list[str]:
    """Return the modules of these rooms (a file or a folder of the package each)."""
    found = []
    for room in rooms:
        path = PACKAGE / room
        files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            parts = file.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(parts).removesuffix(".__init__"))
    return sorted(found)


def import_without(absent: list[str], wanted: list[str]) -> subprocess.CompletedProcess[str]:
    """Import `wanted` in a new interpreter in which the packages `absent` are not installed."""
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({absent}))\n"
        f"for name in {wanted}: importlib.import_module(name)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_room_imports_only_from_earlier_rooms():
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("absent", "wanted"),
    [
        pytest.param(
            ["numpy", "pyarrow", "ray", "torch", "jsonargparse", "yaml"],
            ["emrl_ray", "emrl_ray.cli", *modules("config")],
            id="the list of verbs needs nothing",
        ),
        pytest.param(
            ["ray", "torch", "pymatgen", "sklearn", "xgboost"],
            ["emrl_ray.crystals.schema", "emrl_ray.io.paths", *modules("features")],
            id="crystals and features need numpy, numba and pyarrow",
        ),
        pytest.param(
            ["ray", "pymatgen", "sklearn", "xgboost", "jsonargparse"],
            modules("networks", "training"),
            id="training needs torch",
        ),
        pytest.param(
            ["ray", "torch"],
            [
                *sorted({*modules("model")} - {"emrl_ray.model.fit"}),
                "emrl_ray.commands.embed",
                "emrl_ray.commands.evaluate",
                "emrl_ray.commands.neighbors",
                "emrl_ray.commands.predict",
            ],
            id="using a model needs neither ray nor torch",
        ),
    ],
)
def test_the_import_is_light(absent, wanted):
    result = import_without(absent, wanted)
    assert result.returncode == 0, result.stderr


def test_ray_is_absent_from_every_room_but_distributed():
    """The linter sees import statements; this sees what an import does."""
    rooms = [
        path.stem
        for path in PACKAGE.iterdir()
        if path.stem not in ("distributed", "__main__", "__pycache__", "__init__", "py")
    ]
    result = import_without(["ray"], modules(*rooms))
    assert result.returncode == 0, result.stderr


def test_the_help_of_a_verb_loads_neither_ray_nor_torch():
    code = (
        "import sys\n"
        "from emrl_ray.cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit as exit: assert exit.code == 0\n"
        "heavy = {'ray', 'torch', 'numpy', 'pyarrow', 'pandas'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
