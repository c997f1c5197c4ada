"""How much of a library is like the training sets of a run's models."""

from __future__ import annotations

from collections import Counter

from emrl_ray.reports.markup import NONE_PREDICTED, bars, counted, paragraph, section, share
from emrl_ray.reports.screening.run_folder import ScreeningRun
from emrl_ray.screening.domain_counts import DomainCounts, reason_words
from emrl_ray.screening.statistics import LibrarySummary

DETAILS_SHOWN = 8
"""Elements and pairs that are named as unseen."""


def domain_section(run: ScreeningRun, library: LibrarySummary | None) -> str:
    """Return how many rows are out of the domain of each model, and for which reason."""
    title = "Out of domain"
    if library is None:
        return section("domain", title, paragraph(NONE_PREDICTED, "note"))
    if library.judged == 0:
        words = "This run does not tell which candidates are in the model's domain."
        return section("domain", title, paragraph(words, "note"))
    one = library.known == 1
    known = f"{counted(library.known, 'candidate')} {'is a known crystal' if one else 'are known crystals'}."
    return section(
        "domain",
        title,
        paragraph(_all_models(library)),
        *(
            _of_model(f"Model of {name}: " if len(run.models) > 1 else "", counts, library.rows)
            for name, counts in zip(run.models, library.domains, strict=True)
        ),
        paragraph(known if library.known else ""),
    )


def _all_models(library: LibrarySummary) -> str:
    """Return how many rows are extrapolations, before any filter."""
    several = len(library.domains) > 1
    outside, judged = library.outside, library.judged
    words = (
        f"{outside:,} of {counted(judged, 'candidate')} ({share(outside, judged)}) are unlike the "
        f"training set{' of one model or more' if several else ''}: their predictions are "
        "extrapolations, and no interval holds for them. All predicted candidates are counted here, "
        "whether or not they passed the filters."
    )
    if unknown := library.rows - judged:
        words += f" Of {unknown:,} more this is not known."
    return words


def _of_model(name: str, counts: DomainCounts, rows: int) -> str:
    """Return the reasons of one model as a table of bars."""
    if not counts.judged:
        return paragraph(f"{name}not known, it has no domain.", "note")
    caption = (
        f"{name}{counts.outside:,} of {counts.judged:,} outside; reasons, the first that applies to "
        "each candidate."
    )
    lines = [
        (reason_words(code), count, _often(counts.details, code))
        for code, count in counts.reasons.most_common()
    ]
    head = ("Reason", "Candidates", "Most often")
    return bars(caption, head, lines, rows) if lines else paragraph(f"{name}none is outside.")


def _often(details: Counter[tuple[str, str]], code: str) -> str:
    named = Counter({name: count for (of, name), count in details.items() if of == code})
    return ", ".join(f"{name} {count:,}" for name, count in named.most_common(DETAILS_SHOWN))
