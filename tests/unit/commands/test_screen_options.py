"""What the options of a screen do, each by the verb: objectives, choice, supply, models of the past."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from emrl_ray.commands.screen import command as module
from emrl_ray.commands.screen.command import ScreenResult, screen
from emrl_ray.config import ScreenConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.model import Model
from emrl_ray.screening.screener import own_columns
from emrl_ray.screening.selection import far_apart
from emrl_ray.screening.supply_risk import SUPPLY_RISK
from tests.support import models
from tests.support.crystal_files import salt
from tests.support.models import make_model, random_crystals, write_library
from tests.support.paths import STORED

FORMAT_1 = str(STORED / "model-format-1")
ROWS = 60
SHORT_CUTOFF = 3.0
LIMITS = ValidationLimits.of(ScreenConfig(model="", crystals="", out="", maximize=True))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_library(tmp_path_factory.mktemp("library"), random_crystals(ROWS, 1), [ROWS])


@pytest.fixture
def screened(model: str, library: str, tmp_path: Path):
    """Return what screens the library with the options given."""

    def run(**options: object) -> ScreenResult:
        given = {"model": model, "crystals": library, "out": str(tmp_path / "run"), "workers": 1}
        return screen(ScreenConfig(**{**given, "top": 10, **options}))

    return run


def test_a_screen_that_ranks_nothing_ends_with_an_empty_shortlist(screened, capsys):
    options = {"per_system": 1, "diverse": True, "supply_risk": True, "only_elements": ["Au"]}
    result = screened(minimize=True, **options)
    found = read_table(result.shortlist)
    assert found.num_rows == 0
    assert {"rank", "duplicates", *SUPPLY_RISK} <= set(found.column_names)
    counts, said = result.manifest["counts"], capsys.readouterr().out
    assert counts["ranked"] == counts["examined"] == 0 < counts["predicted"]
    assert f"0 ranked, {counts['predicted']} excluded by their elements, 0 on" in said
    assert "screen: the shortlist is empty: no candidate passes the filters\n" in said
    assert result.passed
    assert counts["likely"] is None
    assert counts["duplicates"] == 0


def test_a_screen_without_a_prediction_does_not_pass(screened, tmp_path, capsys):
    rows = random_crystals(4).to_pylist()
    for row in rows:
        row["lattice"] = [0.0] * 9
    flat = pa.Table.from_pylist(rows, schema=random_crystals(1).schema)
    result = screened(crystals=write_library(tmp_path / "flat", flat, [4]), maximize=True)
    assert not result.passed
    assert "screen: the shortlist is empty: none could be ranked\n" in capsys.readouterr().out


def test_a_diverse_shortlist_lies_far_apart_among_twice_as_many(screened, model, library):
    result = screened(minimize=True, diverse=True, top=8)
    listed = read_table(result.shortlist)
    predictions = read_table(str(Path(result.shortlist).parent / "predictions"))
    best = predictions.sort_by([("prediction", "ascending"), ("id", "ascending")]).slice(0, 16)
    batch = CrystalBatch.from_arrow(read_table(library)).take(best.column("library_row").to_numpy())
    chosen = best.take(far_apart(Model.load(model).embed(batch), 8))
    assert listed.column("id").to_pylist() == chosen.column("id").to_pylist()
    assert listed.column("id").to_pylist() != best.slice(0, 8).column("id").to_pylist()


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two further models; the cutoff of the first is so short that some crystals have no pairs."""
    monkeypatch.setattr(models, "CUTOFF", SHORT_CUTOFF)
    short = make_model(tmp_path / "short", seed=5)
    monkeypatch.undo()
    return [short, make_model(tmp_path / "third", seed=6)]


def test_three_objectives_are_ranked_by_all_and_need_all_predictions(screened, library, extra):
    second, third = extra
    result = screened(
        target_window="5:25",
        and_model=second,
        target_window2=":40",
        objectives=[{"model": third, "target_window": "2:", "head": "linear"}],
    )
    folder = Path(result.shortlist).parent
    found = read_table(str(folder / "predictions"))
    ends = ("", "_2", "_3")
    parts = [found.column(f"p_in_window{end}").to_numpy() for end in ends]
    np.testing.assert_allclose(found.column("p_all").to_numpy(), np.prod(parts, axis=0))
    rejects = read_table(str(folder / "rejects"))
    predicted = {
        name: set(Model.load(name).predict(read_table(library), LIMITS)[0]["id"].to_pylist())
        for name in (second, third)
    }
    assert predicted[second] < predicted[third]
    assert set(found.column("id").to_pylist()) == predicted[second]
    assert predicted[third] - predicted[second] < set(rejects.column("id").to_pylist())
    assert rejects.num_rows == ROWS - found.num_rows
    assert [made["window"] for made in result.manifest["objectives"]] == ["5:25", ":40", "2:"]
    assert set(result.manifest["fingerprints"]) == {"model", "model2", "model3", "crystals"}
    listed = read_table(result.shortlist).column("p_all").to_pylist()
    assert listed == sorted(listed, reverse=True)


def test_a_shortlist_is_screened_again_and_keeps_nothing_of_the_first_screen(
    screened, model, tmp_path, capsys
):
    second = make_model(tmp_path / "second", seed=5)
    first = screened(target_window="5:25", and_model=second, target_window2=":40", supply_risk=True)
    own = own_columns(read_table(first.shortlist).schema)
    assert {"rank", "duplicates", "prediction_2", "p_all", *SUPPLY_RISK} <= set(own)
    capsys.readouterr()
    again = screened(
        crystals=first.shortlist, out=str(tmp_path / "again"), maximize=True, supply_risk=True
    )
    assert f"are left out, rename them to keep them: {', '.join(own)}" in capsys.readouterr().out
    listed = read_table(again.shortlist)
    assert len(set(listed.column_names)) == len(listed.column_names)
    assert not {"prediction_2", "p_in_window", "p_all"} & set(listed.column_names)
    assert "volume_per_atom" in listed.column_names
    assert listed.column("rank").to_pylist() == list(range(1, 11))
    assert sorted(listed.column("library_row").to_pylist()) == list(range(10))


def test_names_of_a_screens_columns_are_those_of_any_screen():
    given = ["id", "volume", "prediction", "rank", "hazards", "p_all", "upper_3", "upper_limit"]
    schema = pa.schema([pa.field(name, pa.float64()) for name in given])
    assert own_columns(schema) == ["prediction", "rank", "hazards", "p_all", "upper_3"]


def test_only_filters_that_were_asked_for_are_told(screened, capsys):
    result = screened(maximize=True, exclude_known=True, per_system=1, top=16)
    said = capsys.readouterr().out
    counts = result.manifest["counts"]
    assert f"{counts['ranked']:,} ranked, 0 known, 15 on the shortlist" in said
    outside = counts["ranked_domain"]
    assert outside > 0 == counts["ranked_known"]
    assert f"screen: of these, {outside} outside the domain; --in-domain leaves them out\n" in said
    assert result.manifest["filters"] == ["known"]
    assert [step["step"] for step in result.manifest["funnel"]][2:] == [
        "not known",
        "on the shortlist",
    ]
    assert f"of the best {counts['ranked']}, which were looked at, 0 duplicate another; the" in said
    assert not result.manifest["cut_short"]


def test_a_search_that_was_cut_short_says_so(screened, monkeypatch, capsys):
    monkeypatch.setattr("emrl_ray.screening.shortlist.MAX_MULTIPLE", 2)
    result = screened(maximize=True, per_system=1, top=20)
    assert result.manifest["cut_short"]
    said = capsys.readouterr().out
    assert "fewer than --top 20: candidates farther down were not looked at" in said


def test_a_model_of_the_first_format_ranks_and_is_refused_what_it_cannot_tell(screened, tmp_path):
    result = screened(model=FORMAT_1, maximize=True)
    listed = read_table(result.shortlist)
    assert listed.num_rows == 10
    assert listed.column("in_domain").null_count == listed.column("known_id").null_count == 10
    for option, said in [
        ("in_domain", f"^--in-domain: {FORMAT_1} knows no domain; train it again$"),
        ("exclude_known", f"^--exclude-known: {FORMAT_1} keeps no structures; train it again$"),
    ]:
        out = tmp_path / option
        with pytest.raises(UserError, match=said):
            screened(model=FORMAT_1, maximize=True, out=str(out), **{option: True})
        assert not out.exists()


def test_what_was_kept_of_training_is_asked_without_reading_it(screened, monkeypatch):
    def nothing_is_read(self: Model) -> None:
        raise AssertionError("the training rows were read")

    monkeypatch.setattr(Model, "reference", property(nothing_is_read))
    monkeypatch.setattr(module, "run_partitions", lambda *given, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        screened(maximize=True, exclude_known=True)


def test_how_many_are_known_or_likelier_than_not_is_told(screened, tmp_path, capsys):
    known = write_library(tmp_path / "known", random_crystals(80).slice(0, 20), [20])
    result = screened(crystals=known, target_window="1e6:")
    counts, said = result.manifest["counts"], capsys.readouterr().out
    assert counts["likely"] == 0
    assert (
        "screen: 0 of the 10 on the shortlist are likelier than not to be in the window\n" in said
    )
    assert counts["ranked_known"] == counts["ranked"] > 0
    assert f"{counts['ranked']} known; " in said
    assert said.count("--exclude-known") == 1
    sure = screened(crystals=known, target_window="-1e6:", out=str(tmp_path / "sure"))
    assert sure.manifest["counts"]["likely"] == 10


def test_duplicates_are_found_however_far_down_and_the_first_of_the_library_is_shown(
    screened, tmp_path
):
    table = pa.concat_tables([random_crystals(30), random_crystals(30, prefix="copy")])
    result = screened(
        crystals=write_library(tmp_path / "double", table, [60]), maximize=True, top=3
    )
    listed = read_table(result.shortlist).to_pylist()
    assert result.manifest["counts"]["examined"] < 60
    assert [row["duplicates"] for row in listed] == [[f"copy{row['id'][1:]}"] for row in listed]
    assert result.manifest["counts"]["duplicates"] == 3


def test_two_windows_for_one_model_are_refused(screened, model, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    for again in (model, str(copy)):
        said = f"^{again}: two windows for the volume_per_atom of one model, 5:9 and :7; give one window"
        with pytest.raises(UserError, match=said):
            screened(target_window="5:9", and_model=again, target_window2=":7")
    assert not (tmp_path / "run").exists()


def test_windows_of_one_target_that_have_no_value_in_common_are_refused(screened, tmp_path):
    second = make_model(tmp_path / "second", seed=5)
    said = "^no volume_per_atom is in both target windows, 5:9 and 12:$"
    with pytest.raises(UserError, match=said):
        screened(target_window="5:9", and_model=second, target_window2="12:")


def test_a_further_model_is_called_by_its_option(screened, tmp_path):
    second = make_model(tmp_path / "second", seed=5)
    options = {"target_window": "5:25", "and_model": second, "target_window2": ":40"}
    screened(**options)
    (Path(second) / "learning_curve.json").write_text("{}")
    with pytest.raises(UserError, match=rf"\(what --and {second} names is not what it was\)"):
        screened(**options)
    with pytest.raises(UserError, match=rf"--and {second} lies there; use another --out"):
        screened(**options, out=str(tmp_path / "second"))


def test_a_damaged_table_is_named_before_any_work(screened, library, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(library, folder)
    whole = (folder / "part-0.parquet").read_bytes()
    for content in (b"no parquet at all", whole[:2000], b""):
        (folder / "z.parquet").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"^/.*/mixed/z\.parquet: not a Parquet file"
        ) as caught:
            screened(crystals=str(folder), maximize=True)
        assert "\n" not in str(caught.value)
    write_parquet(read_table(library).drop_columns("lattice"), resolve(folder) / "z.parquet")
    with pytest.raises(ValueError, match=r"z.parquet: has no column 'lattice', part-0.parquet has"):
        screened(crystals=str(folder), maximize=True)
    assert not (tmp_path / "run").exists()


def test_crystal_files_are_sent_to_ingest(screened, tmp_path):
    folder = tmp_path / "cifs"
    folder.mkdir()
    (folder / "salt.cif").write_text(salt(4))
    for given, said in [(folder, "no such Parquet file"), (folder / "salt.cif", "not a Parquet")]:
        with pytest.raises((ValueError, OSError), match=rf"{said}.*; `ingest` makes a table of"):
            screened(crystals=str(given), maximize=True)


def test_a_damaged_regressor_is_told_before_any_work(screened, model, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    head = damaged / "head_boosted.ubj"
    head.write_bytes(head.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"head_boosted\.ubj holds no trees of XGBoost$"):
        screened(model=str(damaged), head="boosted", maximize=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("out", "said"), [("salt.cif", "is a file, give a folder"), ("salt.cif/run", "is not a folder")]
)
def test_a_run_in_place_of_a_file_is_refused(screened, tmp_path, out, said):
    (tmp_path / "salt.cif").write_text(salt(4))
    with pytest.raises(UserError, match=rf"^--out {tmp_path}/{out}: .*{said}$"):
        screened(maximize=True, out=str(tmp_path / out))


def test_elements_may_be_joined_by_commas():
    options = {"model": "m", "crystals": "c", "out": "o", "maximize": True}
    config = ScreenConfig(**options, exclude_elements=["Pb,Cd", "Hg"], only_elements=["Cs, Sn"])
    assert config.exclude_elements == ["Pb", "Cd", "Hg"]
    assert config.only_elements == ["Cs", "Sn"]
