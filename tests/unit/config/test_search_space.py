"""What tune may search: how a space is written, what is refused, and what becomes of it."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict

import pytest

from emrl_ray import cli
from emrl_ray.config import TrainConfig, TuneConfig, UserError
from emrl_ray.config.parsing import parse, read_yaml
from emrl_ray.config.presets import PRESETS
from emrl_ray.config.search_space import ChoiceDomain, RangeDomain
from emrl_ray.experiments.tuning.results import best_yaml
from emrl_ray.experiments.tuning.trial_store import Trial
from tests.support.paths import ROOT

TRIAL = Trial(0, {"margin": 0.1, "l2": 1e-5}).reported({"epoch": 100, "validation_mae": 0.2}, 1.0)
PLACE = {"crystals": "c", "target": "gap", "out": "o"}


def config(**options) -> TuneConfig:
    return TuneConfig(**PLACE, **options)


def from_words(*words: str) -> TuneConfig:
    return parse(TuneConfig, ["c", "--target", "gap", "--out", "o", *words], name="tune")


def test_a_space_is_the_same_from_words_and_from_yaml(tmp_path):
    words = from_words(
        *("--margin", "0.1:0.3", "--width", "64,128", "--batch-size", "16:48"),
        *("--learning-rate", "1e-3:4e-3", "--cutoff", "4.5", "--loss", "emrl,distance"),
    )
    file = tmp_path / "tune.yaml"
    file.write_text(
        "crystals: c\ntarget: gap\nout: o\n"
        "margin: {low: 0.1, high: 0.3}\nwidth: [64, 128]\nbatch_size: 16:48\n"
        "learning_rate: {low: 1e-3, high: 4e-3}\ncutoff: 4.5\nloss: [emrl, distance]\n"
    )
    in_yaml = parse(TuneConfig, ["--config", str(file)], name="tune")
    assert asdict(words) == asdict(in_yaml)
    assert words.domains == {
        "margin": RangeDomain(0.1, 0.3),
        "learning_rate": RangeDomain(1e-3, 4e-3, log=True),
        "l2": RangeDomain(1e-6, 1e-3, log=True),
        "batch_size": RangeDomain(16, 48),
        "cutoff": ChoiceDomain((4.5,)),
        "width": ChoiceDomain((64, 128)),
        "loss": ChoiceDomain(("emrl", "distance")),
    }
    assert "cutoff" not in words.space
    assert read_yaml(str(file))["width"] == [64, 128]


def test_a_configuration_that_was_written_down_is_read_as_the_same():
    once = config(margin="0.1:0.3", width=[64, 128])
    assert asdict(TuneConfig(**asdict(once))) == asdict(once)


def test_a_range_in_yaml_may_be_even_where_it_would_be_logarithmic():
    even = config(l2={"low": 0, "high": 1e-4, "log": False})
    assert even.domains["l2"] == RangeDomain(0.0, 1e-4, log=False)


def test_what_is_not_searched_is_the_presets():
    chosen = config(search=["margin"], width=[32, 64], preset="MPS-BG", l2=1e-5)
    assert set(chosen.space) == {"margin", "width"}
    training = chosen.training({"margin": 0.3, "width": 32})
    assert (training.margin, training.width, training.l2) == (0.3, 32, 1e-5)
    assert (training.cutoff, training.batch_size) == (4.0, 48)
    assert training.learning_rate == 4 * PRESETS["MPS-BG"].learning_rate


@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_default_space_holds_every_preset(preset, schedule):
    chosen = config(preset=preset, schedule=schedule)
    values = chosen.preset_values()
    known = TrainConfig(**PLACE, preset=preset, schedule=schedule)
    assert values == {name: getattr(known, name) for name in chosen.space}


def test_a_space_without_the_preset_has_no_first_point():
    assert config(margin="0.3:0.4").preset_values() is None


def test_a_network_of_ones_own_is_no_range():
    own = config(network="tests.support.custom_network:MeanDistance,tgnn")
    assert own.domains["network"] == ChoiceDomain(
        ("tests.support.custom_network:MeanDistance", "tgnn")
    )


def test_pairs_are_found_within_the_longest_cutoff():
    both = config(cutoff=[4, 6.5, 5])
    assert (both.shortest_cutoff, both.longest_cutoff) == (4.0, 6.5)
    assert config(search=["margin"]).longest_cutoff == 5.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"margin": "0.3:0.1"}, r"--margin 0.3:0.1: the low end lies above the high one"),
        ({"margin": "-0.1:0.1"}, r"--margin -0.1: must be at least 0"),
        ({"margin": "low"}, r"--margin low: give a value, values as A,B,C or a list, or a range"),
        ({"margin": "1:2:3"}, r"--margin 1:2:3: give a value"),
        ({"margin": "nan"}, r"--margin nan: give a value"),
        ({"margin": {"low": 1}}, r"--margin \{'low': 1\}: give a value"),
        ({"margin": {"low": 1, "high": 2, "step": 1}}, r"--margin .*step.*: give a value"),
        ({"margin": {"low": 1, "high": 2, "log": "yes"}}, r"--margin: log: yes: must be true"),
        ({"margin": []}, r"--margin \[\]: give a value"),
        ({"width": [64, True]}, r"--width True: give a value"),
        ({"width": "64,64"}, r"--width: 64 stands there twice"),
        ({"width": "64.5"}, r"--width 64.5: must be a whole number"),
        ({"width": "1,64"}, r"--width 1: must be at least 2"),
        ({"l2": "0:1e-4"}, r"--l2 0.0:0.0001: a logarithmic range begins above 0"),
        ({"learning_rate": "0,1"}, r"--learning-rate 0.0: must be above 0"),
        ({"batch_size": [2, 8]}, r"--batch-size 2: must be at least 3"),
        ({"network": {"low": 1, "high": 2}}, r"--network .*: give a value"),
        ({"network": "tgnn,"}, r"--network : give a value"),
        ({"basis": "reference", "cutoff": "2.5:5"}, r"--cutoff 2.5: the reference basis needs"),
        ({"search": ["seed"]}, r"--search seed: choose from margin, learning_rate"),
        ({"search": ["margin"], "margin": 0.1}, r"nothing to search: every option has one value"),
        ({"trials": 0}, r"--trials 0: must be at least 1"),
        ({"grace": 101}, r"--grace 101: is more than --epochs 100"),
        ({"validate_every": 101}, r"--validate-every 101: is more than --epochs 100"),
        ({"reduction": 1}, r"--reduction 1: must be at least 2"),
        ({"validation": 0.0}, r"--validation 0.0: must be above 0"),
        ({"validation": 0.6}, r"--validation 0.6: must lie in \[0, 0.5\]"),
        ({"max_concurrent": 0}, r"--max-concurrent 0: must be at least 1"),
        ({"preset": "HOPI"}, r"--preset HOPI: choose from MPB"),
        ({"precision": "bfloat16"}, r"--precision bfloat16: needs --gpu"),
    ],
)
def test_a_space_that_makes_no_sense_is_one_clear_line(options, said):
    with pytest.raises(UserError, match=said) as caught:
        config(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--head", "boost"], "--head boost: must be one of"),
        (["--trials", "many"], "--trials many: must be a whole number"),
        (["--margins", "1"], "--margins: no such option; did you mean --margin?"),
    ],
)
def test_words_that_make_no_sense_are_one_clear_line(words, said):
    with pytest.raises(UserError) as caught:
        from_words(*words)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_space_of_another_kind_in_yaml_is_one_clear_line(tmp_path):
    (tmp_path / "tune.yaml").write_text("margin: true\n")
    with pytest.raises(UserError) as caught:
        from_words("--config", str(tmp_path / "tune.yaml"))
    assert str(caught.value) == "--margin True: must be a value, a list of values or a range"


def test_the_examples_of_the_page_are_valid(tmp_path):
    page = (ROOT / "docs" / "tuning.md").read_text()
    blocks = dict.fromkeys(("sh", "yaml"), "")
    for language, block in re.findall(r"```(sh|yaml)\n(.*?)```", page, re.DOTALL):
        blocks[language] += block
    lines = blocks["sh"].replace("\\\n", " ").splitlines()
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("emrl-ray")]
    assert [verb for verb, *_ in commands] == ["tune", "train", "tune"]
    (tmp_path / "best.yaml").write_text(
        best_yaml(config(search=["margin", "l2"]), TRIAL, "graphs", None)
    )
    for verb, *words in commands:
        at = [str(tmp_path / "best.yaml") if word == "search/best.yaml" else word for word in words]
        parse(cli.VERBS[verb].config, at, name=verb)
    (tmp_path / "tune.yaml").write_text(blocks["yaml"])
    found = parse(TuneConfig, ["--config", str(tmp_path / "tune.yaml")], name="tune")
    assert set(found.space) == {"margin", "learning_rate", "l2", "width", "network"}
    for name in ("margin", "learning_rate", "l2", "batch_size", "cutoff", "width"):
        assert f"| `{name}` |" in page
