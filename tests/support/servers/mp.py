"""A server that speaks what mp-api asks for: heartbeat, and materials/summary with its paging."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

from tests.support.servers.web import WebServer

KEY = "0123456789abcdef0123456789abcdef"
ELEMENTS = [
    "Li",
    "Na",
    "K",
    "Mg",
    "Ca",
    "Sr",
    "Ba",
    "Al",
    "Ga",
    "In",
    "Ti",
    "Zr",
    "Fe",
    "Ni",
    "Cu",
    "Zn",
    "O",
    "S",
    "Se",
    "F",
    "Cl",
    "Br",
    "N",
    "P",
]
PAIRS = list(permutations(ELEMENTS, 2))


def material(number: int) -> dict[str, Any]:
    """Return the summary of material `number`: two elements in a cubic cell."""
    first, second = PAIRS[number % len(PAIRS)]
    a = 3.5 + 0.001 * (number % 997)
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": [x, x, x], "label": symbol}
        for symbol, x in ((first, 0.0), (second, 0.5))
    ]
    return {
        "material_id": f"mp-{number}",
        "structure": {"lattice": {"matrix": [[a, 0, 0], [0, a, 0], [0, 0, a]]}, "sites": sites},
        "band_gap": number % 40 / 10,
        "energy_above_hull": number % 7 / 100,
        "formation_energy_per_atom": -(number % 30) / 10,
        "bulk_modulus": {"voigt": 1.0, "vrh": float(number), "reuss": 2.0},
        "is_stable": number % 7 == 0,
        "nelements": 2,
        "nsites": 2,
        "elements": sorted([first, second]),
        "chemsys": "-".join(sorted([first, second])),
        "deprecated": False,
        "theoretical": None,
        "robocrys": "long text that nobody asked for",
    }


class MPServer(WebServer):
    """A database of materials."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._earlier: dict[str, list[dict[str, Any]]] = {}
        self.version = "2025.09.25"
        self.materials = sorted(
            (material(number) for number in range(1, count + 1)),
            key=lambda each: each["material_id"],
        )

    def answer(self, path: str, query: dict[str, str], headers: Any) -> tuple[int, Any]:
        """Return status and JSON of the answer to a request."""
        if path == "/heartbeat":
            return 200, {
                "status": "OK",
                "version": "0.87.3",
                "db_version": self.version,
                "access_controlled_batch_ids": [],
            }
        if path != "/materials/summary/":
            return 404, {"detail": "Not Found"}
        if headers.get("x-api-key") != KEY:
            return 401, {"message": "Unauthorized"}
        found = self._found({key: text for key, text in query.items() if key[0] != "_"})
        if "_page" in query:
            rows = int(query["_per_page"])
            start = (int(query["_page"]) - 1) * rows
        else:
            rows, start = int(query.get("_limit", 100)), int(query.get("_skip", 0))
        if rows > 1000:
            return 400, {"detail": "_limit: at most 1000"}
        names = {name.partition(".")[0] for name in query.get("_fields", "material_id").split(",")}
        data = [
            {name: value for name, value in each.items() if name in names}
            for each in found[start : start + rows]
        ]
        return 200, {"data": data, "meta": {"total_doc": len(found), "max_limit": 1000}}

    def _found(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """Return the materials that a request asks for, whatever the page."""
        if json.dumps(query) not in self._earlier:
            self._earlier[json.dumps(query)] = [
                each for each in self.materials if _is_wanted(each, query)
            ]
        return self._earlier[json.dumps(query)]


def _is_wanted(each: dict[str, Any], query: dict[str, str]) -> bool:
    """Return whether a material is one that a request asks for."""
    for name, text in query.items():
        key, _, end = name.rpartition("_")
        elements = set(each["elements"])
        if name == "material_ids" and each["material_id"] not in text.split(","):
            return False
        if name == "chemsys" and each["chemsys"] not in text.split(","):
            return False
        if name == "elements" and not set(text.split(",")) <= elements:
            return False
        if name == "exclude_elements" and set(text.split(",")) & elements:
            return False
        if name in ("is_stable", "deprecated") and each[name] != (text.lower() == "true"):
            return False
        if end == "min" and each[key] < float(text):
            return False
        if end == "max" and each[key] > float(text):
            return False
    return True
