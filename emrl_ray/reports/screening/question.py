"""What a run was asked, and the short answer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.schema import float_column
from emrl_ray.io.paths import resolve
from emrl_ray.reports.markup import facts, paragraph, per_cent, section, table
from emrl_ray.reports.screening.columns import has_any
from emrl_ray.reports.screening.funnel import cut_short
from emrl_ray.reports.screening.reported_objectives import ReportedObjective, names
from emrl_ray.reports.screening.run_folder import ScreeningRun
from emrl_ray.screening.domain_counts import verdict
from emrl_ray.screening.objectives import P_ALL, P_IN_WINDOW
from emrl_ray.screening.shortlist import LIKELY


def question_section(run: ScreeningRun) -> str:
    """Return the question in a sentence, the answer, and what belongs to them as a list."""
    return section(
        "question",
        "The question",
        paragraph(question(run), "question"),
        paragraph(_answer(run)),
        paragraph(likely(run), "answer"),
        paragraph(cut_short(run.manifest)),
        facts(_facts(run)),
        _models(run) if run.several else "",
        *(paragraph(words, "note") for words in problems(run)),
    )


def problems(run: ScreeningRun) -> list[str]:
    """Return what is wrong with the models of a run, a sentence each."""
    return list(dict.fromkeys(made.model.problem for made in run.objectives if made.model.problem))


def question(run: ScreeningRun) -> str:
    """Return what the run was asked."""
    asked = ("target_window", "maximize", "minimize")
    if not any(run.config.get(name) for name in asked):
        return "This run does not tell what it was asked."
    library = resolve(str(run.config["crystals"])).name if run.config.get("crystals") else ""
    rows = run.counts.get("rows_in")
    of_library = f" of {library}" if library else ""
    if rows == 1:
        return f"Does the only crystal{of_library} have {_objectives(run)}?"
    which = f"Which of the {rows:,} crystals" if rows else "Which crystals"
    return f"{which}{of_library} have {_objectives(run)}?"


def _answer(run: ScreeningRun) -> str:
    """Return how many candidates are on the shortlist and which is the first, in a sentence."""
    rows = run.shortlist
    if run.counts.get("predicted") == 0:
        return "No candidate could be predicted: see the rejects."
    if not rows.num_rows:
        return "No candidate is on the shortlist."
    first = rows.slice(0, 1).to_pylist()[0]
    name = f"{first['formula']} ({first['id']})" if first.get("formula") else first["id"]
    if rows.num_rows == 1:
        return f"One candidate is on the shortlist: {name}."
    return f"{rows.num_rows:,} candidates are on the shortlist; the first is {name}."


def likely(run: ScreeningRun) -> str:
    """Return how many of the shortlist are likelier than not to meet the objective, in a sentence."""
    rows, name = run.shortlist, P_ALL if run.several else P_IN_WINDOW
    if run.first.window is None or not has_any(rows, name):
        return ""
    values = np.nan_to_num(float_column(rows, name))
    found, listed = values >= LIKELY, rows.num_rows
    wanted = "values within all windows" if run.several else _objectives(run)
    to_be, best = f"likelier than not to have {wanted}", per_cent(float(values.max()))
    if listed == 1:
        return f"It is {'' if found.any() else 'not '}{to_be}: its probability is {best}."
    if not found.any():
        return f"None of the {listed:,} is {to_be}; the best has a probability of {best}."
    count = int(found.sum())
    which = "All" if count == listed else f"{count:,} of the" if count > 1 else "One of the"
    said = f"{which} {listed:,} {'are' if count > 1 else 'is'} {to_be}{_trusted(run, found)}"
    return f"{said}; the best has a probability of {best}."


def _trusted(run: ScreeningRun, found: NDArray[np.bool_]) -> str:
    """Return how many of the rows `found` are in the domain, after a comma; empty if that is not told."""
    inside, outside = verdict(run.shortlist, run.endings)
    if not (inside | outside).any():
        return ""
    trusted = f"{(found & inside).sum():,}" if (found & inside).any() else "none"
    whose = "every model" if run.several else "the model"
    return f", {trusted} of them in the domain of {whose}"


def _objectives(run: ScreeningRun) -> str:
    if run.first.window is None:
        largest = "largest" if run.config.get("maximize") else "smallest"
        return f"the {largest} {run.first.target}"
    return " and ".join(
        f"a {name} {made.within}"
        for name, made in zip(names(run.objectives), run.objectives, strict=True)
    )


def _facts(run: ScreeningRun) -> Iterator[tuple[str, object]]:
    config, card = run.config, run.first.model.card
    if not run.several:
        yield "Target", run.first.label if card else None
        yield "Level of theory", card.theory or "not recorded" if card else None
    yield "Ranked by", _ranked_by(run)
    yield "Only elements", " ".join(config.get("only_elements") or [])
    yield "Without elements", " ".join(config.get("exclude_elements") or [])
    every = "yes, of every model" if run.several else "yes"
    yield "Only in the domain", every if config.get("in_domain") else None
    yield "Without known crystals", "yes" if config.get("exclude_known") else None
    yield "Most of one chemical system", config.get("per_system")
    yield "Far apart in embedding space", "yes" if config.get("diverse") else None
    yield "Atoms in a cell", f"at most {config['max_atoms']:,}" if "max_atoms" in config else None
    yield "Library", config.get("crystals")
    if not run.several:
        yield "Model", config.get("model")
        if card:
            yield "Trained on", _trained_on(run.first)
            yield "Regressor", run.first.head
            yield "Seed of the model", card.hyperparameters.get("seed")
    yield "Seed of the run", config.get("seed")
    if run.finished:
        yield "Finished", run.finished.strftime("%Y-%m-%d %H:%M %Z").strip()


def _trained_on(made: ReportedObjective) -> str | None:
    card = made.model.card
    return f"{card.rows['train']:,} crystals" if card and "train" in card.rows else None


def _models(run: ScreeningRun) -> str:
    """Return the objectives and their models, a row each."""
    head = ("Objective", "Wanted", "Model", "Regressor", "Trained on", "Level of theory")
    rows = []
    for made in run.objectives:
        card = made.model.card
        theory = (card.theory or "not recorded") if card else None
        words = (made.within, made.model.location or None, made.head or None, _trained_on(made))
        rows.append((f"{made.number + 1}: {made.target}", *words, theory))
    return table("The objectives of the run; all are to be met.", head, rows)


def _ranked_by(run: ScreeningRun) -> str | None:
    if run.first.window is None:
        if run.config.get("maximize"):
            return "largest prediction"
        return "smallest prediction" if run.config.get("minimize") else None
    if run.several:
        return "probability of values within all windows, as if their errors were independent"
    return "probability of a value within the window"
