"""What is said about a shortlist's table, above and below it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from emrl_ray.crystals.tables import KNOWN_ID
from emrl_ray.reporting.run_page.columns import has_any
from emrl_ray.reporting.run_page.domain_counts import verdict
from emrl_ray.reporting.run_page.interval_scale import IntervalScale
from emrl_ray.reporting.run_page.markup import counted
from emrl_ray.reporting.run_page.run_folder import Run
from emrl_ray.screening.supply_risk import COST, HAZARDS

OF_COST = (
    "Cost is that of the pure elements by mass, at prices from Wolfram Alpha and Wikipedia, nearly all of "
    "September 2013 (pymatgen); fluorine's, 1,900 USD/kg, is that of the pure gas, and fluorides "
    "are made from cheaper compounds. How few countries supply the elements (Herfindahl-Hirschman "
    "index, Gaultois et al. 2013) is in shortlist.csv."
)
OF_HAZARDS = (
    "RoHS or radioactive: elements that EU directive 2011/65/EU restricts (Pb, Hg, Cd, Cr; of chromium "
    "the hexavalent alone, but any is named here), and those without a stable isotope. Other hazards "
    "are not looked for."
)


def count_words(run: Run) -> str:
    """Return how many rows are in domain, known and duplicated, in a sentence each."""
    rows, said = run.shortlist, []
    listed = rows.num_rows
    endings = [made.ending for made in run.models.values()]
    if any(has_any(rows, f"in_domain{ending}") for ending in endings):
        inside = int(verdict(rows, endings).inside.sum())
        whose = "the domain of every model" if len(endings) > 1 else "the model's domain"
        which = f"{inside:,} of {listed:,}" if inside else f"None of {listed:,}"
        said.append(f"{which} {'are' if inside > 1 else 'is'} in {whose}.")
    if has_any(rows, KNOWN_ID):
        known = listed - rows.column(KNOWN_ID).null_count
        said.append(f"{counted(known, 'is a known crystal', 'are known crystals')}.")
    if "duplicates" in rows.column_names:
        said.append(_duplicates(run))
    return " ".join(said)


def _duplicates(run: Run) -> str:
    """Return how many candidates are the same crystal as one of the shortlist, and as another."""
    found = pc.sum(pc.list_value_length(run.shortlist.column("duplicates"))).as_py() or 0
    examined, repeated = run.counts.get("examined"), run.counts.get("repeated")
    among = f" among the best {examined:,}, which were looked at" if examined else ""
    if "duplicates" in run.counts:  # all ranked rows were compared, not only those looked at
        among, repeated = " among all ranked candidates", None
    if not found:
        said = f"No further candidate{among} is the same crystal as one of these."
    else:
        are = counted(
            found, "further candidate is a duplicate", "further candidates are duplicates"
        )
        said = f"{are} of these{among} (column Duplicates)."
    if (more := (repeated or 0) - found) > 0:
        are = counted(more, "more is a duplicate", "more are duplicates")
        said += f" {are} of candidates that are not on the shortlist."
    if cut := run.counts.get("duplicates_cut"):
        have = counted(cut, "row of these has", "rows of these have")
        said += f" {have} so many candidates for a duplicate that not all were compared."
    return said


def missing_words(rows: pa.Table) -> str:
    """Return what this run does not tell, in a sentence; empty if it tells all."""
    kinds = {
        "lower": "intervals (its model has no calibration)",
        "in_domain": "whether candidates are in the model's domain",
        "nearest_id": "the nearest known crystals",
        KNOWN_ID: "which candidates are known crystals",
        "duplicates": "duplicates",
        "lattice": "the structures",
    }
    untold = [
        words
        for name, words in kinds.items()
        if name not in rows.column_names or (name in list(kinds)[:3] and not has_any(rows, name))
    ]
    return f"This run does not tell: {', '.join(untold)}." if untold else ""


def how_to_read(run: Run, pictures: int) -> str:
    """Return what the columns mean, for `pictures` rows with a picture."""
    rows, said = run.shortlist, []
    if has_any(rows, "lower"):
        each = " of an objective" if run.several else ""
        said.append(f"All intervals{each} are drawn on the scale above them{_window_words(run)}.")
    if has_any(rows, "nearest_id"):
        said.append(
            "The nearest known crystal is that of the training set nearest in embedding space"
            + (" of the first model" if run.several else "")
            + "; its distance has no unit and compares within this model alone."
        )
    if pictures and rows.num_rows > pictures:
        said.append(f"The first {pictures:,} rows have pictures.")
    if has_any(rows, COST):
        said.append(OF_COST)
    if HAZARDS in rows.column_names:
        said.append(OF_HAZARDS)
    said.append("The same rows are in shortlist.csv and shortlist.parquet beside this page.")
    return " ".join(said)


def _window_words(run: Run) -> str:
    """Return how the windows are drawn, if there are any."""
    windows = [made for made in run.sought if made.window]
    scales = [IntervalScale.of(run.shortlist, made.window, made.ending) for made in windows]
    said = "; the window is shaded" if any(not scale.beyond for scale in scales) else ""
    if any(scale.beyond for scale in scales):
        said += "; where the window lies beyond the scale, a wedge points to it"
    return said
