"""An OPTIMADE server: structures page by page, each with a link to the next."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tests.support.servers.web import WebServer

PROPERTIES = {
    "_exmpl_gap": {"type": "float", "unit": "eV", "description": "a gap"},
    "_exmpl_direct": {"x-optimade-type": "boolean", "type": ["boolean", "null"]},
    "_exmpl_note": {"type": "string", "unit": None},
    "_exmpl_table": {"type": "dictionary"},
    "nelements": {"x-optimade-type": "integer", "x-optimade-unit": "dimensionless"},
    "lattice_vectors": {"type": "list", "unit": "angstrom"},
    "id": {"type": "string"},
}


def species(name: str, *symbols: str, **more: Any) -> dict[str, Any]:
    """Return a species, of one symbol by the name of it, of more in equal shares."""
    symbols = symbols or (name,)
    shares = [1 / len(symbols)] * len(symbols)
    return {"name": name, "chemical_symbols": list(symbols), "concentration": shares, **more}


def structure(number: int) -> dict[str, Any]:
    """Return structure `number`: NaCl's primitive cell, its edge growing with the number."""
    a = 2.8 + 0.001 * number
    return {
        "type": "structures",
        "id": f"ex-{number}",
        "attributes": {
            "lattice_vectors": [[0, a, a], [a, 0, a], [a, a, 0]],
            "cartesian_site_positions": [[0, 0, 0], [a, a, a]],
            "species": [species("Na"), species("Cl")],
            "species_at_sites": ["Na", "Cl"],
            "structure_features": [],
            "nelements": 2,
            "_exmpl_gap": number / 10,
            "_exmpl_direct": number % 2 == 0,
            "_exmpl_note": f"number {number}",
            "chemical_formula_descriptive": "nobody asked for it",
        },
    }


def _asked(attributes: Any, names: list[str]) -> Any:
    """Return the attributes of a structure that are asked for, or what stands in their place."""
    if not isinstance(attributes, dict):
        return attributes
    return {name: value for name, value in attributes.items() if name in names}


class OptimadeServer(WebServer):
    """A database of structures; the only filter that it refuses is `nonsense`."""

    def __init__(self, count: int, link: str = "text") -> None:
        """`link` is the form of `links.next`: text, object, or relative."""
        super().__init__()
        self.structures = [structure(number) for number in range(count)]
        self.link = link
        self.properties: Any = PROPERTIES
        self.changes: dict[str, Any] = {}
        """What answers with structures have in place of what they should have."""
        self.page_limit_max: int | None = None
        """The largest page that is not refused."""

    def answer(self, path: str, query: dict[str, str], headers: Any) -> tuple[int, Any]:
        """Return status and JSON of the answer to a request."""
        meta = {"provider": {"name": "Example"}, "api_version": "1.2.0"}
        if path == "/optimade/v1/info/structures":
            return 200, {"data": {"properties": self.properties}, "meta": meta}
        if path != "/optimade/v1/structures":
            return 404, {"errors": [{"detail": "no such endpoint"}]}
        if query.get("filter") == "nonsense":
            return 400, {"errors": [{"detail": "cannot parse the filter"}]}
        if self.page_limit_max and int(query["page_limit"]) > self.page_limit_max:
            return 403, {"errors": [{"detail": f"page_limit is at most {self.page_limit_max}"}]}
        start, rows = int(query.get("page_offset", 0)), min(int(query["page_limit"]), 50)
        names = query["response_fields"].split(",")
        data = [
            {**each, "attributes": _asked(each.get("attributes", {}), names)}
            for each in self.structures[start : start + rows]
        ]
        more = start + rows < len(self.structures)
        meta |= {"data_returned": len(self.structures), "more_data_available": more}
        link = self._next(path, {**query, "page_offset": start + rows}) if more else None
        return 200, {"data": data, "meta": meta, "links": {"next": link}} | self.changes

    def _next(self, path: str, query: dict[str, Any]) -> Any:
        link = f"{path}?{urlencode(query)}"
        if self.link == "relative":
            return link
        return {"href": self.url + link} if self.link == "object" else self.url + link
