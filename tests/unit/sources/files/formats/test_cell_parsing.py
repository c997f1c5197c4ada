"""What is a full site, a lattice, a list of vectors: one answer for all formats."""

import json
import math

import pytest

from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.formats.cell_parsing import vectors
from emrl_ray.sources.files.formats.optimade import read_structure
from emrl_ray.sources.files.formats.registry import Format, read_document
from emrl_ray.sources.files.parsed import ParsedCrystal, ReadError, attempt
from tests.support.crystal_files import cif, structure
from tests.support.servers.optimade import species
from tests.support.servers.optimade import structure as resource


@pytest.mark.parametrize(
    ("occupancy", "full"),
    [(1, True), (0.9995, True), (1.001, True), (0.9985, False), (1.0015, False), (math.nan, False)],
)
def test_a_site_is_full_in_one_format_as_in_another(occupancy, full):
    found = read_document(cif([f"Na1 Na 0 0 0 {occupancy}"]).encode(), Format.CIF)
    content = json.dumps(structure(occupancy=occupancy)).encode()
    found += read_document(content, Format.JSON)
    attributes = resource(1)["attributes"]
    attributes["species"][0] = {**species("Na"), "concentration": [occupancy]}
    found.append(attempt(read_structure, attributes))
    assert [isinstance(each, ParsedCrystal) for each in found] == [full] * 3
    assert full or {each.reason for each in found} == {RejectReason.DISORDERED}


@pytest.mark.parametrize("rows", [None, "here", [[1, 0]], [[1, 0, math.inf]], [[10**400, 0, 0]]])
def test_what_is_no_list_of_vectors_is_a_flaw(rows):
    with pytest.raises(ReadError, match="not 1 times three finite numbers"):
        vectors(rows, 1, RejectReason.BAD_CELL)
