"""The demo passes for a model that is good, and fails for one that is not."""

import numpy as np
import pyarrow as pa
import pytest

from emrl_ray.commands import demo as stages
from emrl_ray.commands.demo import WINDOW, DemoResult, demo
from emrl_ray.commands.generation_partitions import ENERGY
from emrl_ray.config import DemoConfig, UserError
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve


@pytest.mark.parametrize(
    ("mae", "hit_rate", "passed"),
    [(5.0, 0.25, True), (5.1, 0.9, False), (0.1, 0.24, False)],
)
def test_error_and_hit_rate_must_both_be_good(mae, hit_rate, passed):
    assert DemoResult(mae, 10.0, hit_rate, 0.05, 0.9, 0.8, "report.html").passed is passed


def test_a_negative_seed_is_refused_before_any_work(tmp_path):
    with pytest.raises(UserError, match="seed -1: must be at least 0"):
        demo(DemoConfig(out=str(tmp_path / "demo"), seed=-1))
    assert not (tmp_path / "demo").exists()


def test_training_set_and_candidates_share_no_composition():
    known, candidates = stages._known(DemoConfig(), "a"), stages._candidates(DemoConfig(), "b")
    assert known.parts()[1] == candidates.parts()[1]
    assert known.parts()[0] != candidates.parts()[0]
    assert known.seed != candidates.seed


def test_predictions_are_compared_with_the_exact_labels_of_the_same_id(tmp_path, capsys):
    rng = np.random.default_rng(0)
    exact = rng.uniform(-60, -10, 200)
    ids = np.array([f"crystal-{number}" for number in range(200)])
    predicted, order = exact + rng.normal(0, 1, 200), rng.permutation(200)
    inside = np.flatnonzero((exact > WINDOW[0]) & (exact < WINDOW[1]))
    listed = np.concatenate([inside[:3], np.flatnonzero(exact > -20)[:1]])
    tables = {
        "known/slice-000000.parquet": {ENERGY.name: [-20.0, -40.0]},
        "revealed/slice-000000.parquet": {"id": ids, ENERGY.name: exact},
        "screen/predictions/slice-000000.parquet": {
            "id": ids[order],
            "prediction": predicted[order],
            "lower": predicted[order] - 1,
            "upper": predicted[order] + 1,
            "in_domain": order < 150,
        },
        "screen/shortlist.parquet": {
            "rank": [1, 2, 3, 4],
            "id": ids[listed],
            "prediction": predicted[listed],
            "lower": predicted[listed] - 1,
            "upper": predicted[listed] + 1,
        },
    }
    for name, columns in tables.items():
        write_parquet(pa.table(columns), resolve(tmp_path / name))
    result = stages._compare(str(tmp_path), "report.html")
    assert result.mae == pytest.approx(np.abs(predicted - exact).mean())
    assert result.floor == pytest.approx(np.abs(exact + 30).mean())
    assert result.hit_rate == 0.75
    assert result.coverage == np.mean(np.abs(predicted - exact) <= 1)
    assert result.inside == 0.75
    assert result.random_rate == pytest.approx(len(inside) / 200)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in printed[1:]] == ["hit", "hit", "hit", "miss"]
