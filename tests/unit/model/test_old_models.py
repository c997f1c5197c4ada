"""Models of every format so far load, and predict what they predicted when they were made."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from emrl_ray.config import UserError
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.parquet import read_table
from emrl_ray.model import Model, read_card
from tests.support.paths import STORED

FORMATS = [1]
HEADS = ("linear", "neural", "boosted")


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("head", HEADS)
def test_a_stored_model_predicts_what_it_predicted_when_it_was_made(version, head):
    """Load a model of each format so far and compare with the numbers stored beside it.

    The model of format 1 was made by `train`, version 0.1.0, on one CPU::

        write_parquet(random_crystals(60, 0), locate("crystals.parquet"))  # tests.support.models
        emrl_ray.train(crystals="crystals.parquet", target="volume_per_atom", out="model-format-1",
                       width=8, cutoff=4.0, epochs=3, calibration=0.2, test=0.1, seed=0)

    without `_run.json` and `rejects.parquet`, which are no part of a model. The same call gives the
    same bytes. `model-format-1.parquet` has those of `random_crystals(20, 7)` that have a
    prediction, as a crystals table, and what `Model.predict` gave for them: a column a head, the
    ends of its intervals, and the nearest training crystal.
    """
    stored = read_table(str(STORED / f"model-format-{version}.parquet"))
    crystals = stored.select(CRYSTAL_SCHEMA.names)
    model = Model.load(str(STORED / f"model-format-{version}"))
    found, rejects = model.predict(crystals, ValidationLimits(1000, 400_000), head)
    assert not rejects
    assert found.column("id").equals(stored.column("id"))
    assert found.column("nearest_id").equals(stored.column("near_id"))
    columns = {
        "prediction": head,
        "lower": f"{head}_lower",
        "upper": f"{head}_upper",
        "nearest_target": "near_target",
    }
    values = {name: found.column(name).to_numpy() for name in columns}
    before = {name: stored.column(expected).to_numpy() for name, expected in columns.items()}
    for numbers in (values, before):
        # Ends from the prediction: near 0, a lower end would be held to a tiny share of what it is
        # the difference of. The stored numbers of the neural head were computed in float32.
        numbers |= {end: numbers[end] - numbers["prediction"] for end in ("lower", "upper")}
    for name in columns:
        np.testing.assert_allclose(values[name], before[name], rtol=1e-6, atol=1e-6)
        assert found.schema.field(name).metadata == {b"unit": b"angstrom^3"}
    np.testing.assert_allclose(
        found.column("nearest_distance").to_numpy(),
        stored.column("near_distance").to_numpy(),
        rtol=1e-5,
        atol=1e-6,
    )
    assert stored.num_rows >= 12
    assert model.card.format_version == version


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("card.json", b"[1, 2]", "card.json is no JSON object"),
        ("card.json", b"{", "card.json is no JSON"),
        ("card.json", b"\xff\xfe\x00", "card.json is no JSON"),
        ("card.json", {"basis": ...}, "card.json has no basis"),
        ("card.json", {"heads": ["linear"]}, "heads in card.json is no JSON object"),
        ("card.json", {"heads": {"magic": {}}}, "heads in card.json: magic is none of linear"),
        ("card.json", {"best_head": "readout"}, "best_head in card.json: readout is none of"),
        ("calibration.json", b"[]", "calibration.json is no JSON object"),
        ("calibration.json", b"no", "calibration.json is no JSON"),
        ("calibration.json", {"linear": [1.0]}, "linear in calibration.json is no JSON object"),
        (
            "calibration.json",
            {"linear": {"method": "magic"}},
            "linear in calibration.json: .*magic",
        ),
        ("calibration.json", {"linear": {"ratios": [1.0]}}, "'method' is missing"),
        (
            "calibration.json",
            {"linear": {"method": "constant split conformal", "residuals": ["a"]}},
            "linear in calibration.json: .*'a'",
        ),
    ],
)
def test_a_file_of_another_kind_is_a_damaged_model_in_one_line(tmp_path, file, content, said):
    """Put another content into a file of a stored model; of a mapping, its entries, `...` for none."""
    folder = tmp_path / "model"
    shutil.copytree(STORED / "model-format-1", folder)
    if isinstance(content, dict):
        entries = json.loads((folder / file).read_text()) | content
        kept = {name: value for name, value in entries.items() if value is not ...}
        content = json.dumps(kept).encode()
    (folder / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"model: a damaged model: {said}") as caught:
        Model.load(str(folder))
    assert "\n" not in str(caught.value)
    if file == "card.json":
        with pytest.raises(ValueError, match="a damaged model"):
            read_card(str(folder))


def test_a_model_whose_uri_has_options_is_refused_whichever_option_names_it():
    with pytest.raises(UserError, match=r"^model s3://b/m\?region=x: takes no \?OPTIONS"):
        Model.load("s3://b/m?region=x")
