"""What the options of a screen do, each by the verb: objectives, choice, supply, models of the past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from emrl_ray.config import ConfigError, ScreenConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.storage import read_table
from emrl_ray.crystals.validation import Limits
from emrl_ray.model import Model
from emrl_ray.pipelines import screen as module
from emrl_ray.pipelines.screen import ScreenResult, screen
from emrl_ray.screening.candidates import own_columns
from emrl_ray.screening.choice import far_apart
from emrl_ray.screening.supply_risk import SUPPLY
from tests import tiny_model
from tests.tiny_model import make_model, random_crystals, write_library

FORMAT_1 = str(Path(__file__).parent / "data" / "model-format-1")
ROWS = 60
SHORT_CUTOFF = 3.0
LIMITS = Limits.of(ScreenConfig(model="", crystals="", out="", maximize=True))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_library(tmp_path_factory.mktemp("library"), random_crystals(ROWS, 1), [ROWS])


@pytest.fixture
def screened(ray_session: None, model: str, library: str, tmp_path: Path):
    """Return what screens the library with the options given."""

    def run(**options: object) -> ScreenResult:
        given = {"model": model, "crystals": library, "out": str(tmp_path / "run"), "workers": 1}
        return screen(ScreenConfig(**{**given, "top": 10, **options}))

    return run


def test_a_screen_that_ranks_nothing_ends_with_an_empty_shortlist(screened, capsys):
    options = {"per_system": 1, "diverse": True, "supply": True, "only_elements": ["Au"]}
    result = screened(minimize=True, **options)
    found = read_table(result.shortlist)
    assert found.num_rows == 0
    assert {"rank", "duplicates", *SUPPLY} <= set(found.column_names)
    counts, said = result.manifest["counts"], capsys.readouterr().out
    assert counts["ranked"] == counts["examined"] == 0 < counts["predicted"]
    assert f"0 ranked, {counts['predicted']} excluded by their elements, 0 on" in said


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
def further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two further models; the cutoff of the first is so short that some crystals have no pairs."""
    monkeypatch.setattr(tiny_model, "CUTOFF", SHORT_CUTOFF)
    short = make_model(tmp_path / "short", seed=5)
    monkeypatch.undo()
    return [short, make_model(tmp_path / "third", seed=6)]


def test_three_objectives_are_ranked_by_all_and_need_all_predictions(screened, library, further):
    second, third = further
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
    first = screened(target_window="5:25", and_model=model, target_window2=":40", supply=True)
    own = own_columns(read_table(first.shortlist).schema)
    assert {"rank", "duplicates", "prediction_2", "p_all", *SUPPLY} <= set(own)
    capsys.readouterr()
    again = screened(
        crystals=first.shortlist, out=str(tmp_path / "again"), maximize=True, supply=True
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
    result = screened(maximize=True, not_known=True, per_system=1, top=16)
    said = capsys.readouterr().out
    counts = result.manifest["counts"]
    assert f"{counts['ranked']:,} ranked, 0 known, 15 on the shortlist" in said
    assert "outside the domain" not in said
    assert result.manifest["filters"] == ["known"]
    assert [step["step"] for step in result.manifest["funnel"]][2:] == [
        "not known",
        "on the shortlist",
    ]
    assert f"of the best {counts['ranked']}, which were looked at, 0 duplicate another" in said
    assert not result.manifest["cut_short"]


def test_a_search_that_was_cut_short_says_so(screened, monkeypatch, capsys):
    monkeypatch.setattr("emrl_ray.screening.shortlist.MOST", 2)
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
        ("not_known", f"^--not-known: {FORMAT_1} keeps no structures; train it again$"),
    ]:
        out = tmp_path / option
        with pytest.raises(ConfigError, match=said):
            screened(model=FORMAT_1, maximize=True, out=str(out), **{option: True})
        assert not out.exists()


def test_what_was_kept_of_training_is_asked_without_reading_it(screened, monkeypatch):
    def nothing_is_read(self: Model) -> None:
        raise AssertionError("the training rows were read")

    monkeypatch.setattr(Model, "reference", property(nothing_is_read))
    monkeypatch.setattr(module, "run_slices", lambda *given, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        screened(maximize=True, not_known=True)
