"""Maps: the embeddings of models on a plane, side by side."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emrl_ray.commands.map import draw_map, short_names
from emrl_ray.config import UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.composition import CLASSES, anions, composition_classes, metal_content
from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import need_extra
from emrl_ray.model import Model
from emrl_ray.reports.embedding_map.colorings import Categories, ColorScale, coloring
from emrl_ray.reports.embedding_map.rows import sample_rows
from tests.support.maps import HOSTILE, ROWS, config, write_inputs
from tests.support.models import TARGET


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two models, a library in two files, and a map of both."""
    folder = tmp_path_factory.mktemp("map")
    write_inputs(folder)
    draw_map(config(folder, color=["target", "class", "metal_content", "anion", "family"]))
    return folder


def crystals_of(*compositions: str) -> CrystalBatch:
    """Return crystals with these atoms, given as symbols with blanks between them."""
    atoms = [[ATOMIC_NUMBERS[symbol] for symbol in text.split()] for text in compositions]
    offsets = np.cumsum([0, *map(len, atoms)])
    return CrystalBatch(
        np.stack([np.eye(3)] * len(atoms)),
        np.concatenate(atoms).astype(np.uint8),
        np.zeros((offsets[-1], 3)),
        offsets,
    )


@pytest.mark.parametrize(
    ("composition", "kind", "metals", "anion"),
    [
        ("C N H H H Pb I I I", "halide", 1 / 9, "I"),
        ("Bi O Cl", "halide", 1 / 3, "Cl"),
        ("Cs Pb Br Br Cl", "halide", 2 / 5, "Cl"),
        ("Ca S O O O O", "oxide", 1 / 6, "O"),
        ("Sb Sb Te Te Te", "chalcogenide", 0, "Te"),
        ("Ga As", "pnictide", 1 / 2, "As"),
        ("Ni Ni Ni Al", "metal", 1, None),
        ("Cu", "metal", 1, None),
        ("Fe Fe Fe C", "other", 3 / 4, None),
        ("Ge", "other", 0, None),
        ("Pd H", "other", 1 / 2, None),
    ],
)
def test_a_known_composition_has_its_class_anion_and_share_of_metals(
    composition, kind, metals, anion
):
    batch = crystals_of("Na Cl", composition, "Fe")
    assert [CLASSES[code] for code in composition_classes(batch)] == ["halide", kind, "metal"]
    assert metal_content(batch).tolist() == pytest.approx([0.5, metals, 1])
    assert anions(batch) == ["Cl", anion, None]


def test_the_table_has_a_row_a_crystal_drawn_and_its_place_on_each_map(folder):
    rows = read_table(str(folder / "out" / "map.parquet"))
    assert rows.column_names == [
        *("id", "formula", "class", "metal_content", TARGET, "anion", "family"),
        *("x_emrl", "y_emrl", "x_gnn", "y_gnn"),
    ]
    assert rows.schema.field(TARGET).metadata == {b"unit": b"angstrom^3"}
    assert set(rows.column("class").to_pylist()) == {"oxide", "metal"}
    rejects = (folder / "out" / "map.rejects.csv").read_text().splitlines()[1:]
    assert rows.num_rows + len(rejects) == ROWS
    for name in ("emrl", "gnn"):
        places = np.stack([rows.column(f"{axis}_{name}").to_numpy() for axis in "xy"])
        assert np.isfinite(places).all()
        assert (places.std(axis=1) > 0.1).all()
    library = read_table(str(folder / "library"))
    kept = library.take(pa.compute.index_in(rows["id"], library["id"].combine_chunks()))
    assert kept.column(TARGET).equals(rows.column(TARGET))


def test_the_same_seed_gives_the_same_table_and_another_seed_another_sample(folder, tmp_path):
    again = {}
    for name, options in {"same": {}, "other": {"seed": 1}}.items():
        colors = ["target", "class", "metal_content", "anion", "family"]
        draw_map(config(folder, out=str(tmp_path / name), color=colors, **options))
        again[name] = (tmp_path / name / "map.parquet").read_bytes()
    assert again["same"] == (folder / "out" / "map.parquet").read_bytes()
    ids = [pq.read_table(place / "map.parquet")["id"] for place in sorted(tmp_path.iterdir())]
    assert ids[0] != ids[1]


def test_the_page_holds_all_that_it_shows(folder):
    page = (folder / "out" / "map.html").read_text()
    tags = re.sub(r"<script.*?</script>", "<script></script>", page, flags=re.DOTALL)
    assert "http" not in tags
    assert not re.search(r"<script[^>]*\ssrc|<link", page)
    assert tags.count("<script>") == tags.count("</script>")
    assert HOSTILE not in page
    rows = read_table(str(folder / "out" / "map.parquet")).to_pylist()
    assert all(row["id"] in page for row in rows)
    for label in ("volume per atom (angstrom^3)", "composition class", "metal content"):
        assert label in page


def test_the_picture_has_a_column_a_model_and_a_row_a_colouring(folder, tmp_path):
    def size(file: Path) -> tuple[int, int]:
        content = file.read_bytes()
        assert content.startswith(b"\x89PNG")
        return tuple(int.from_bytes(content[at : at + 4], "big") for at in (16, 20))

    models = [str(folder / "emrl")]
    draw_map(config(folder, models=models, color=["class"], out=str(tmp_path / "one")))
    wide, high = size(folder / "out" / "map.png")
    one_wide, one_high = size(tmp_path / "one" / "map.png")
    assert 600 < wide - one_wide < 700
    assert 4 * 600 < high - one_high < 4 * 700


def test_without_the_target_predictions_colour_and_the_verb_says_so(folder, tmp_path, capsys):
    library = read_table(str(folder / "library")).drop_columns([TARGET, "formula"])
    write_parquet(library, resolve(tmp_path / "bare.parquet"))
    found = draw_map(
        config(folder, crystals=str(tmp_path / "bare.parquet"), out=str(tmp_path / "out"))
    )
    assert f"no {TARGET} in the table: coloured by what emrl predicts" in capsys.readouterr().out
    column = f"predicted_{TARGET}"
    assert found.rows.schema.field(column).metadata == {b"unit": b"angstrom^3"}
    expected, _ = Model.load(str(folder / "emrl")).predict(library, ValidationLimits(1000, 400_000))
    places = pa.compute.index_in(found.rows["id"], expected["id"].combine_chunks())
    np.testing.assert_allclose(
        found.rows[column].to_numpy(), expected["prediction"].take(places).to_numpy(), rtol=1e-6
    )
    assert all(found.rows.column("formula").to_pylist())


def test_a_map_may_be_drawn_again_where_one_is_and_nowhere_over_other_files(folder, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(folder / "out", out)
    (out / "notes.txt").write_text("mine")
    whole = draw_map(config(folder, rows=70, out=str(out), color=["class"]))
    assert read_table(str(out / "map.parquet")).equals(whole.rows)
    assert (out / "notes.txt").read_text() == "mine"
    for name in ("map.png", "map.parquet"):
        other = tmp_path / f"other {name}"
        other.mkdir()
        (other / name).write_text("not a map")
        with pytest.raises(UserError, match=f"holds {name} and is no map: use another folder"):
            draw_map(config(folder, out=str(other)))
        assert [file.name for file in other.iterdir()] == [name]


def test_a_sample_is_of_the_table_in_its_order_whatever_its_files(folder):
    ids = read_table(str(folder / "library")).column("id").to_pylist()
    drawn = sample_rows(str(folder / "library"), ["id"], 20, 0).column("id").to_pylist()
    assert drawn == sorted(drawn, key=ids.index)
    assert len(set(drawn)) == 20
    assert sample_rows(str(folder / "library"), ["id"], 70, 0).column("id").to_pylist() == ids


def test_models_are_named_by_the_least_that_tells_them_apart():
    assert short_names(["a/model", "b/other/"]) == ["model", "other"]
    assert short_names(["a/model", "b/model"]) == ["a/model", "b/model"]
    with pytest.raises(UserError, match="a model is there twice"):
        short_names(["a/model", "a/../a/model"])


def test_a_scale_is_not_stretched_by_outliers_and_a_constant_has_one():
    table = pa.table({"gap": [*np.linspace(0, 1, 400), 1e6, None], "same": [2.0] * 402})
    scale = coloring(table, "gap")
    assert isinstance(scale, ColorScale)
    assert scale.high < 1.01
    assert np.isnan(scale.values[-1])
    assert coloring(table, "same").high > coloring(table, "same").low


def test_kinds_beyond_the_palette_are_drawn_as_others():
    names = [f"k{number:02d}" for number in range(20) for _ in range(30 - number)]
    kinds = coloring(pa.table({"kind": [*names, None]}), "kind")
    assert isinstance(kinds, Categories)
    assert kinds.names == [*(f"k{number:02d}" for number in range(8)), "others", "none"]
    assert len(set(kinds.colors)) == len(kinds.colors)
    assert np.bincount(kinds.codes).sum() == len(names) + 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"models": ["nowhere"]}, r"nowhere: no model there \(card.json is missing\)"),
        ({"models": []}, "--models : give one or more, each once"),
        ({"crystals": "nowhere"}, "nowhere: no such Parquet file, nor a folder that holds any"),
        ({"perplexity": 30}, "--perplexity 30: needs at least 91 crystals, there are 50"),
        ({"rows": 10}, "--perplexity 5: needs at least 16 crystals, there are 10"),
        ({"perplexity": 1}, "--perplexity 1: must be at least 2"),
        ({"color": ["class", "gap"]}, "--color gap: give target, class, .*: volume_per_atom, fam"),
        ({"color": ["lattice"]}, "--color lattice: give target, class"),
        ({"color": []}, "--color : give one or more, each once"),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line_before_any_work(folder, tmp_path, options, said):
    with pytest.raises((UserError, OSError), match=said) as caught:
        draw_map(config(folder, **{"out": str(tmp_path / "out"), **options}))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_table_that_is_none_of_crystals_and_a_file_as_folder_are_refused(folder, tmp_path):
    place = tmp_path / "table.parquet"
    write_parquet(pa.table({"id": ["a"]}), resolve(place))
    with pytest.raises(ValueError, match=r"not a crystals table, column 'lattice' is missing"):
        draw_map(config(folder, crystals=str(place), out=str(tmp_path / "out")))
    with pytest.raises(UserError, match="is a file, give a folder"):
        draw_map(config(folder, out=str(place)))


def test_a_model_that_embeds_all_alike_has_no_map(folder, tmp_path):
    library = read_table(str(folder / "library"))
    same = pa.concat_tables([library.slice(1, 1)] * 20)
    write_parquet(same, resolve(tmp_path / "same.parquet"))
    with pytest.raises(ValueError, match="emrl: embeds all 20 crystals alike"):
        draw_map(config(folder, crystals=str(tmp_path / "same.parquet"), out=str(tmp_path / "out")))


def test_a_missing_extra_says_what_to_install():
    with pytest.raises(ImportError, match=r"pip install 'emrl-ray\[report\]'"):
        need_extra("json", "no_such_package", extra="report")


def test_an_extra_that_lacks_a_part_says_which(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import no_such_part")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = r"^half-there cannot be imported \(No module named 'no_such_part'\): pip install"
    with pytest.raises(ImportError, match=said):
        need_extra("half_there", extra="report")
