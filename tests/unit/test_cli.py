"""The command line: what it takes, what it refuses and how it says so."""

from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import pytest

import emrl_ray
from emrl_ray import cli
from emrl_ray.config import GenerateConfig, IngestConfig, ScreenConfig, TrainConfig, UserError
from emrl_ray.config.base import window_of, window_text
from emrl_ray.config.parsing import field_docs, parse, read_yaml


def screen(*words, **values):
    return parse(ScreenConfig, words, values, name="screen")


SCREEN = ("model", "crystals", "--out", "run")


def test_positionals_options_and_defaults_make_a_config():
    config = screen(*SCREEN, "--maximize", "--top", "7")
    assert config == ScreenConfig(
        model="model", crystals="crystals", out="run", maximize=True, top=7
    )


@pytest.mark.parametrize("word", ["--target-window", "--target_window"])
def test_dashes_and_underscores_name_the_same_option(word):
    assert screen(*SCREEN, word, "1:2").target_window == "1:2"


def test_a_second_objective_is_asked_for_by_and(tmp_path):
    windows = ["--target-window", "1:2", "--target-window2", ":-1"]
    (tmp_path / "screen.yaml").write_text("and: fe\n")
    in_yaml = ["--config", str(tmp_path / "screen.yaml")]
    for words in (["--and", "fe"], ["--and=fe"], ["--and-model", "fe"], in_yaml):
        wanted = screen(*SCREEN, *windows, *words).wanted()
        assert wanted == [
            ("model", "model", None, (1, 2)),
            ("and", "fe", None, (-math.inf, -1)),
        ]


def test_objectives_are_a_list_in_yaml(tmp_path):
    (tmp_path / "screen.yaml").write_text(
        "target_window: 1:2\nobjectives:\n"
        "  - {model: fe, target_window: ':-1'}\n  - {model: bulk, target_window: '90:', head: linear}\n"
    )
    wanted = screen(*SCREEN, "--config", str(tmp_path / "screen.yaml")).wanted()
    assert [entry.model for entry in wanted] == ["model", "fe", "bulk"]
    assert wanted[2] == ("objectives", "bulk", "linear", (90, math.inf))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"and_model": "fe"}, "--and MODEL and --target-window2 LOW:HIGH: give both or neither"),
        ({"target_window2": "1:2"}, "--and MODEL and --target-window2 LOW:HIGH: give both or"),
        ({"and_model": "fe", "target_window2": "2:1"}, "--target-window2 2:1: give LOW:HIGH"),
        ({"objectives": [{"model": "fe"}]}, "objectives: .*: give model and target_window"),
        ({"per_system": 0}, "--per-system 0: must be at least 1"),
        ({"confidence": 1.0}, r"--confidence 1.0: must lie in \[0.5, 0.999\]"),
    ],
)
def test_objectives_that_make_no_sense_are_one_clear_line(options, said):
    with pytest.raises(UserError, match=said):
        screen(*SCREEN, target_window="1:2", **options)
    with pytest.raises(UserError, match="--and: several objectives are met in windows"):
        screen(*SCREEN, maximize=True, and_model="fe", target_window2="1:2")


@pytest.mark.parametrize("window", ["-3:-2", "-0.5:", ":-1", "-3.0:2"])
def test_a_window_may_begin_with_a_minus(window):
    assert screen(*SCREEN, "--target-window", window).target_window == window


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("8:12", (8.0, 12.0)),
        (":1.7", (-math.inf, 1.7)),
        ("-1234567.25:", (-1234567.25, math.inf)),
        ("1.0000001:1.0000002", (1.0000001, 1.0000002)),
    ],
)
def test_a_window_is_written_to_the_last_digit(text, window):
    assert window_of("target-window", text) == window
    assert window_text(window) == text


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--overwrite"], True),
        (["--overwrite", "true"], True),
        (["--overwrite", "false"], False),
        (["--overwrite=true"], True),
        ([], False),
    ],
)
def test_a_switch_works_with_and_without_a_value(words, value):
    assert screen(*SCREEN, "--minimize", *words).overwrite is value


def test_a_list_takes_several_words():
    config = screen(*SCREEN, "--minimize", "--exclude-elements", "Pb", "No")
    assert config.exclude_elements == ["Pb", "No"]
    assert parse(IngestConfig, ["a", "b", "--out", "c"]).sources == ["a", "b"]


def test_a_positional_may_be_named():
    config = screen("--model", "m", "crystals", "--out", "run", "--maximize")
    assert (config.model, config.crystals) == ("m", "crystals")


def test_the_command_line_overrides_the_file(tmp_path):
    file = tmp_path / "screen.yaml"
    file.write_text(
        "model: m\ncrystals: c\nout: run\ntarget-window: 1:30\nexclude_elements: [No, Pb]\ntop: 5\n"
    )
    config = screen("--config", str(file), "--top", "9", "other")
    assert (config.model, config.crystals, config.top) == ("other", "c", 9)
    assert config.target_window == "1:30"
    assert config.exclude_elements == ["No", "Pb"]


def test_yaml_numbers_keep_their_kind(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("a: 1e-3\nb: 12\nc: true\nd: on\ne: 012\nf:\ng: 1:2\nh: -.5\n")
    expected = {"a": 1e-3, "b": 12, "c": True, "d": "on", "e": "012", "f": None, "g": "1:2"}
    assert read_yaml(str(file)) == expected | {"h": -0.5}


def test_one_text_stands_for_a_list_of_one():
    assert parse(IngestConfig, [], {"sources": "folder", "out": "o"}).sources == ["folder"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--maximize"], "missing MODEL, CRYSTALS, --out; see --help"),
        ([*SCREEN, "--topp", "3"], "--topp: no such option; did you mean --top?; see --help"),
        ([*SCREEN, "--block", "3"], "--block: no such option; did you mean --block-rows?"),
        ([*SCREEN, "more", "--maximize"], "unrecognized arguments: more"),
        ([*SCREEN, "--top", "many"], "--top many: must be a whole number"),
        ([*SCREEN, "--workers", "many"], "--workers many: must be a whole number"),
        ([*SCREEN, "--maximize", "--top", "0"], "--top 0: must be at least 1"),
        ([*SCREEN, "--maximize", "--block-rows", "0"], "--block-rows 0: must be at least 1"),
        ([*SCREEN, "--target-window", "2:1"], "--target-window 2:1: give LOW:HIGH"),
        ([*SCREEN], "give exactly one of --target-window LOW:HIGH, --maximize, --minimize"),
        (["--config", "no.yaml"], "--config no.yaml: No such file or directory"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(words, message):
    with pytest.raises(UserError) as error:
        screen(*words)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"topp": 3}, "topp: no option of screen; did you mean top?"),
        ({"top": "many"}, "--top many: must be a whole number"),
        ({"out": 5}, "--out 5: must be text"),
    ],
)
def test_a_wrong_value_of_a_file_is_refused_in_one_line(values, message):
    with pytest.raises(UserError) as error:
        screen(**({"model": "m", "crystals": "c", "out": "o", "maximize": True} | values))
    assert str(error.value) == message


def test_a_choice_names_what_is_allowed():
    with pytest.raises(UserError, match=r"--label madelung: must be one of .*none.*ewald"):
        parse(GenerateConfig, ["--out", "o", "--label", "madelung"])


def test_a_file_that_is_no_mapping_is_refused(tmp_path):
    file = tmp_path / "c.yaml"
    for text, why in [("- a\n", "holds no OPTION: VALUE lines"), ("a: [", "while parsing")]:
        file.write_text(text)
        with pytest.raises(UserError, match=why) as error:
            read_yaml(str(file))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_option_of_a_verb_has_help(verb):
    kind = cli.VERBS[verb].config
    assert kind.__dataclass_fields__.keys() == field_docs(kind).keys()
    assert kind.__doc__


def test_the_list_of_verbs_names_them_all(capsys):
    assert cli.main(["--help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:2] == "  "]
    assert listed == list(cli.VERBS)


def test_an_unknown_verb_exits_2(capsys):
    assert cli.main(["scren"]) == 2
    assert "scren: no such verb; did you mean screen?" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"emrl-ray {emrl_ray.__version__}\n"


@pytest.fixture
def verb(monkeypatch):
    """Stand a function in for that of `library` and return a way to run it."""

    def install(function):
        module = SimpleNamespace(stand_in=function)
        monkeypatch.setitem(sys.modules, "stand_in", module)
        monkeypatch.setitem(cli.VERBS, "generate", cli.Verb(GenerateConfig, "stand_in:stand_in"))

    return install


@pytest.mark.parametrize(("passed", "status"), [(True, 0), (False, 1)])
def test_the_exit_status_follows_the_outcome(verb, passed, status):
    verb(lambda config: SimpleNamespace(passed=passed))
    assert cli.main(["generate", "--out", "o"]) == status


def test_an_outcome_that_cannot_fail_exits_0(verb):
    verb(lambda config: None)
    assert cli.main(["generate", "--out", "o"]) == 0


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("--out o: is taken"), "--out o: is taken"),
        (FileNotFoundError("o/rows"), "FileNotFoundError: o/rows"),
        (PermissionError(13, "Permission denied", "o"), "PermissionError: [Errno 13] "),
    ],
)
def test_an_error_of_the_users_is_one_line_and_exit_status_2(verb, capsys, error, message):
    def fail(config):
        raise error

    verb(fail)
    assert cli.main(["generate", "--out", "o"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"emrl-ray generate: {message}")
    assert said.count("\n") == 1


def test_an_error_of_ours_is_the_users_and_one_of_a_library_is_a_bug(verb, tmp_path, capsys):
    from emrl_ray.io.parquet import table_files

    verb(lambda config: table_files(str(tmp_path)))
    assert cli.main(["generate", "--out", "o"]) == 2
    assert "no such Parquet file" in capsys.readouterr().err
    verb(lambda config: json.loads("{"))
    with pytest.raises(json.JSONDecodeError):
        cli.main(["generate", "--out", "o"])


@pytest.mark.parametrize("error", [KeyError("missing"), ValueError("shapes"), OSError("a\nb")])
def test_a_bug_keeps_its_traceback(verb, error):
    def fail(config):
        raise error

    verb(fail)
    with pytest.raises(type(error)):
        cli.main(["generate", "--out", "o"])


def test_a_verb_has_a_python_twin(verb):
    verb(lambda config: config)
    assert emrl_ray.generate(out="o", count=3) == GenerateConfig(out="o", count=3)
    assert emrl_ray.train.__doc__ == TrainConfig.__doc__
    with pytest.raises(AttributeError, match="no attribute 'scren'"):
        _ = emrl_ray.scren


def test_a_twin_refuses_what_the_command_line_refuses():
    with pytest.raises(UserError, match="--schedule"):
        emrl_ray.train(crystals="c", target="y", out="m", schedule="onecycle")
    with pytest.raises(UserError, match=r"--epochs three: must be a whole number"):
        emrl_ray.train(crystals="c", target="y", out="m", epochs="three")
    with pytest.raises(UserError, match=r"epoch: no option of train; did you mean epochs\?"):
        emrl_ray.train(crystals="c", target="y", out="m", epoch=3)


@pytest.mark.parametrize(
    ("resumable", "said"), [(True, "; the same command goes on from here"), (False, "")]
)
def test_an_interrupt_is_one_line_and_exit_status_130(verb, monkeypatch, capsys, resumable, said):
    def interrupted(config):
        raise KeyboardInterrupt

    verb(interrupted)
    monkeypatch.setitem(cli.VERBS, "generate", cli.VERBS["generate"]._replace(resumable=resumable))
    assert cli.main(["generate", "--out", "o"]) == 130
    assert capsys.readouterr().err == f"emrl-ray generate: interrupted{said}\n"


def test_what_begins_anew_is_not_said_to_go_on():
    assert not any(
        cli.VERBS[name].resumable
        for name in ("predict", "evaluate", "embed", "neighbors", "diff", "report", "map")
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["library", "--out", "o"], "emrl-ray: library: renamed to generate"),
        (
            ["screen", "m", "c", "--out", "o", "--not-known"],
            "emrl-ray screen: --not-known: renamed to --exclude-known",
        ),
        (
            ["screen", "m", "c", "--out", "o", "--supply"],
            "emrl-ray screen: --supply: renamed to --supply-risk",
        ),
        (
            ["train", "c", "--target", "y", "--out", "o", "--least-seen=3"],
            "emrl-ray train: --least-seen: renamed to --min-occurrences",
        ),
        (
            ["ingest", "s", "--out", "o", "--files-per-slice", "5"],
            "emrl-ray ingest: --files-per-slice: renamed to --files-per-partition",
        ),
    ],
)
def test_an_old_name_answers_with_the_new_one(words, said, capsys):
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"{said}\n"


def test_an_old_key_of_a_file_or_of_python_answers_with_the_new_one(tmp_path):
    file = tmp_path / "o.yaml"
    file.write_text("model: m\ncrystals: c\nout: o\nmaximize: true\nnot-known: true\n")
    with pytest.raises(UserError, match=r"^not_known: renamed to exclude_known$"):
        parse(ScreenConfig, ["--config", str(file)], name="screen")
    with pytest.raises(UserError, match=r"^least_seen: renamed to min_occurrences$"):
        emrl_ray.train(crystals="c", target="y", out="o", least_seen=2)
    with pytest.raises(AttributeError, match="library: renamed to generate"):
        _ = emrl_ray.library
