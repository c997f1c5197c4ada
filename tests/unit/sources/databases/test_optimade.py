"""What an OPTIMADE server sends becomes a crystal or a flaw."""

from __future__ import annotations

import pytest

from emrl_ray.sources.databases.optimade import structures_url
from emrl_ray.sources.databases.optimade_schema import read_entry
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure
from tests.support.servers.optimade import species, structure


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"species": [species("Na", "Na", "K"), species("Cl")]}, "disordered", "Na 0.5, K 0.5"),
        ({"species": [species("Na", "Na", "vacancy"), species("Cl")]}, "disordered", "vacancy"),
        ({"species": [species("Na", "vacancy"), species("Cl")]}, "disordered", "a site of vacancy"),
        (
            {"species": [{**species("Na"), "concentration": [0.9]}, species("Cl")]},
            "disordered",
            "Na 0.9",
        ),
        (
            {"species": [species("Na", attached=["H"], nattached=[1]), species("Cl")]},
            "disordered",
            "attached H",
        ),
        ({"structure_features": ["disorder", "assemblies"]}, "disordered", "assemblies"),
        ({"structure_features": ["implicit_atoms"]}, "bad_coordinates", "without positions"),
        ({"species": [species("Na", "X"), species("Cl")]}, "unknown_element", "'X'"),
        ({"species_at_sites": ["Na", "Br"]}, "unknown_element", "no species 'Br'"),
        ({"species": None, "species_at_sites": ["Na", "Na1"]}, "unknown_element", "'Na1'"),
        ({"species": [{"name": "Na"}, species("Cl")]}, "unreadable", "KeyError"),
        ({"dimension_types": [1, 1, 0]}, "bad_cell", "not periodic"),
        ({"species_at_sites": [], "cartesian_site_positions": []}, "no_atoms", ""),
        ({"lattice_vectors": None}, "bad_cell", "not 3 times three"),
        ({"lattice_vectors": [[1, 0, 0], [0, 1, 0]]}, "bad_cell", "not 3 times three"),
        ({"lattice_vectors": [[1, 0, 0], [0, 1, 0], [0, 0, 0]]}, "bad_cell", "no volume"),
        ({"cartesian_site_positions": [[0, 0, 0]]}, "bad_coordinates", "not 2 times three"),
        ({"cartesian_site_positions": "here"}, "bad_coordinates", "not 2 times three"),
    ],
)
def test_what_is_no_ordered_crystal_is_a_flaw(change, reason, detail):
    resource = structure(1)
    resource["attributes"] |= change
    found = read_entry(resource, []).found
    assert isinstance(found, ParseFailure)
    assert found.reason == reason
    assert detail in found.detail


def test_a_species_that_no_site_has_does_no_harm():
    resource = structure(1)
    resource["attributes"]["species"].append(species("mixed", "K", "Rb"))
    assert isinstance(read_entry(resource, []).found, ParsedCrystal)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://x.org", "https://x.org/v1/structures"),
        ("https://x.org/optimade/", "https://x.org/optimade/v1/structures"),
        ("https://x.org/v1.2", "https://x.org/v1.2/structures"),
        ("https://x.org/v1/structures/", "https://x.org/v1/structures"),
    ],
)
def test_the_base_url_may_name_a_version(base, url):
    assert structures_url(base) == url
