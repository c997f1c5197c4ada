"""The command line: verb → function, with the dataclasses of `config` as options and help.

Nothing heavy is imported before a verb runs: `emrl-ray VERB --help` needs neither ray nor torch.
"""

from __future__ import annotations

import atexit
import gc
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NamedTuple

from emrl_ray import __version__, config
from emrl_ray.config.errors import one_line, user_message
from emrl_ray.config.parsing import did_you_mean, local_bytes, parse
from emrl_ray.config.renamed import COMMANDS
from emrl_ray.io.console import show_log


class Verb(NamedTuple):
    """What the command line knows of a verb."""

    config: type
    """Dataclass of its options."""
    function: str
    """MODULE:NAME, imported when the verb runs."""
    resumable: bool = False
    """Whether the same call again goes on where it was interrupted."""


VERBS: dict[str, Verb] = {
    "demo": Verb(config.DemoConfig, "emrl_ray.commands.demo:demo", True),
    "ingest": Verb(config.IngestConfig, "emrl_ray.commands.ingest:ingest", True),
    "fetch": Verb(config.FetchConfig, "emrl_ray.commands.fetch:fetch", True),
    "generate": Verb(config.GenerateConfig, "emrl_ray.commands.generate:generate", True),
    "featurize": Verb(config.FeaturizeConfig, "emrl_ray.commands.featurize:featurize", True),
    "train": Verb(config.TrainConfig, "emrl_ray.commands.train:train", True),
    "tune": Verb(config.TuneConfig, "emrl_ray.commands.tune:tune", True),
    "predict": Verb(config.PredictConfig, "emrl_ray.commands.predict:predict"),
    "evaluate": Verb(config.EvaluateConfig, "emrl_ray.commands.evaluate:evaluate"),
    "embed": Verb(config.EmbedConfig, "emrl_ray.commands.embed:embed"),
    "neighbors": Verb(config.NeighborsConfig, "emrl_ray.commands.neighbors:neighbors"),
    "screen": Verb(config.ScreenConfig, "emrl_ray.commands.screen.command:screen", True),
    "diff": Verb(config.DiffConfig, "emrl_ray.commands.diff:diff"),
    "nightly": Verb(config.NightlyConfig, "emrl_ray.commands.nightly.command:nightly", True),
    "report": Verb(config.ReportConfig, "emrl_ray.reports.screening.page:report"),
    "map": Verb(config.MapConfig, "emrl_ray.commands.map:draw_map"),
    "benchmark": Verb(config.BenchmarkConfig, "emrl_ray.commands.benchmark:benchmark", True),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run `emrl-ray VERB ...` and return its exit status."""
    verb, *options = (sys.argv[1:] if words is None else list(words)) or ["--help"]
    if verb in ("-h", "--help"):
        print(_overview())
        return 0
    if verb == "--version":
        print(f"emrl-ray {__version__}")
        return 0
    if verb in COMMANDS:
        return _refuse("emrl-ray", f"{verb}: renamed to {COMMANDS[verb]}")
    if verb not in VERBS:
        return _refuse(
            "emrl-ray", f"{verb}: no such verb{did_you_mean(verb, VERBS)}; see emrl-ray --help"
        )
    return run(verb, options)


def run(verb: str, words: Sequence[str]) -> int:
    """Run one verb with command line words and return its exit status.

    0 is success, 1 an outcome that did not pass, 2 an error of the user's (said in one line).
    Whatever else goes wrong is a bug and keeps its traceback.
    """
    atexit.register(gc.freeze)  # else Python looks for garbage as it ends, for about 0.5 s
    return guard(
        f"emrl-ray {verb}",
        lambda: _run(verb, words),
        "; the same command goes on from here" if VERBS[verb].resumable else "",
    )


def _run(verb: str, words: Sequence[str]) -> Any:
    """Check the options, and call the verb; a long one says so before its imports take their seconds."""
    options: Any = parse(VERBS[verb].config, words, name=verb, read=_content)
    if VERBS[verb].resumable:
        print(f"{verb}: started, out {options.out}", flush=True)
    return call(verb, options)


def _content(file: str) -> bytes:
    """Return what a file holds, local or in an object store."""
    if "://" not in file:
        return local_bytes(file)
    from emrl_ray.io.paths import resolve

    return resolve(file).read_bytes()


def guard(name: str, work: Callable[[], Any], after_interrupt: str = "") -> int:
    """Return the exit status of `work`; an error of the user's becomes one line on stderr.

    So does an interrupt, with what is to be said after it.
    """
    show_log()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # progress shows at once in a log or a pipe
    try:
        outcome = work()
    except (ValueError, OSError, ImportError) as error:
        if (message := user_message(error)) is None:
            raise
        return _refuse(name, message)
    except KeyboardInterrupt:
        return _refuse(name, f"interrupted{after_interrupt}", status=130)
    return 0 if getattr(outcome, "passed", True) else 1


def call(verb: str, options: Any) -> Any:
    """Run the function of `verb` on its configuration and return its outcome."""
    module, _, function = VERBS[verb].function.partition(":")
    return getattr(import_module(module), function)(options)


def python_function(verb: str) -> Callable[..., Any]:
    """Return the Python function of `verb`: options as keywords, its outcome returned."""
    kind = VERBS[verb].config

    def function(**options: Any) -> Any:
        return call(verb, parse(kind, [], options, name=verb))

    function.__name__ = function.__qualname__ = verb
    function.__doc__ = kind.__doc__
    function.__signature__ = inspect.signature(kind).replace(return_annotation=Any)  # type: ignore[attr-defined]
    return function


def _overview() -> str:
    lines = [
        f"  {verb:<11}{(known.config.__doc__ or '').splitlines()[0]}"
        for verb, known in VERBS.items()
    ]
    return "\n".join(
        [
            "usage: emrl-ray VERB [--config FILE.yaml] [options]",
            "",
            "Screens inorganic crystals by metric learning, on a laptop or a Ray cluster.",
            "",
            *lines,
            "",
            "emrl-ray VERB --help shows a verb's options; emrl-ray --version the version.",
        ]
    )


def _refuse(name: str, message: str, status: int = 2) -> int:
    print(f"{name}: {one_line(message)}", file=sys.stderr)
    return status
