"""One table of candidates after another through the models of a screen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, KNOWN_ID, Reject
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.model import PREDICTION_COLUMNS, Model
from emrl_ray.screening.filters import DOMAIN, ELEMENTS, EXCLUDED_BY, KNOWN, Filters, excluded_by
from emrl_ray.screening.objectives import (
    P_ALL,
    P_IN_WINDOW,
    Objective,
    joint_probability,
    suffix,
)
from emrl_ray.screening.prediction_files import LIBRARY_ROW
from emrl_ray.screening.shortlist import DUPLICATES, RANK
from emrl_ray.screening.supply_risk import SUPPLY_RISK

ALLOWED = "elements_allowed"
RUN_ID, NIGHT = "run_id", "night"
"""Columns of tables with the rows of several screens: the run, and the night, that a row is from."""
OWN_COLUMNS = frozenset(
    {
        *(*PREDICTION_COLUMNS, P_IN_WINDOW, P_ALL, EXCLUDED_BY, LIBRARY_ROW, ALLOWED),
        *(RANK, DUPLICATES, *SUPPLY_RISK, RUN_ID, NIGHT),
    }
)
"""Columns that a screen writes, with whatever options, besides those of further objectives."""
OF_EXTRA = ("prediction", "lower", "upper", P_IN_WINDOW, "in_domain", "domain_reason")
"""Columns of the predictions of each further objective."""


def own_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of a library that make way, having names of those that a screen writes.

    Which options this screen has does not matter: a shortlist that is screened again keeps nothing of
    the earlier screen.
    """
    parts = [name.rpartition("_") for name in schema.names]
    return [
        name
        for name, (stem, _, number) in zip(schema.names, parts, strict=True)
        if name in OWN_COLUMNS or (stem in OF_EXTRA and number.isdigit())
    ]


class Screener:
    """The models of a screen, which predict tables of candidates."""

    def __init__(
        self,
        models: Sequence[Model],
        objectives: Sequence[Objective],
        filters: Filters,
        limits: ValidationLimits,
        confidence: float = 0.9,
    ) -> None:
        """Predict with `models`, those of the objectives in their order."""
        self.models, self.objectives, self.filters = models, objectives, filters
        self.limits, self.confidence = limits, confidence

    def __call__(
        self, crystals: pa.Table, first_row: int, source: str
    ) -> tuple[pa.Table, list[Reject]]:
        """Return the predictions of a crystals table, and a reject for each row without one.

        `first_row` is the position of its first row in the library. The columns are those of
        `Model.predict` with `p_in_window` where there is a window, those of further objectives
        with an ending, `p_all`, the position in the library and what keeps a row off the shortlist.
        """
        crystals = self._marked(crystals, first_row)
        found, rejects = self._predicted(0, crystals, source)
        for number in range(1, len(self.objectives)):
            rows = pc.is_in(crystals.column(LIBRARY_ROW), found.column(LIBRARY_ROW))
            extra, without = self._predicted(number, self._bare(crystals.filter(rows)), source)
            found = _joined(found, extra, number)
            rejects += without
        if len(self.objectives) > 1:
            joint = joint_probability(found, self.objectives)
            found = found.append_column(P_ALL, pa.array(joint, pa.float64()))
        return self._filtered(found), rejects

    def _marked(self, crystals: pa.Table, first_row: int) -> pa.Table:
        """Return the crystals with their positions and whether their elements are allowed."""
        crystals = crystals.drop_columns(own_columns(crystals.schema))
        rows = np.arange(first_row, first_row + crystals.num_rows)
        allowed = self.filters.elements.allows(crystals.column("atomic_numbers"))
        return crystals.append_column(LIBRARY_ROW, pa.array(rows)).append_column(
            ALLOWED, pa.array(allowed)
        )

    def _bare(self, crystals: pa.Table) -> pa.Table:
        names = [name for name in CRYSTAL_SCHEMA.names if name in crystals.column_names]
        return crystals.select([*names, LIBRARY_ROW])

    def _predicted(
        self, number: int, crystals: pa.Table, source: str
    ) -> tuple[pa.Table, list[Reject]]:
        objective, model = self.objectives[number], self.models[number]
        head = model.read_head(objective.head)
        found, rejects = model.predict(crystals, self.limits, head, source, self.confidence)
        if objective.window is not None:
            share = model.calibrations[head].p_in_window(
                found.column("prediction").to_numpy(),
                found.column("nearest_distance").to_numpy(),
                *objective.window,
            )
            place = found.schema.get_field_index("upper") + 1
            found = found.add_column(place, P_IN_WINDOW, pa.array(share, pa.float64()))
        return found, rejects

    def _filtered(self, found: pa.Table) -> pa.Table:
        """Return the rows with the first filter that each does not pass."""
        passed = {ELEMENTS: found.column(ALLOWED).to_numpy()}
        if self.filters.in_domain:
            names = [f"in_domain{suffix(number)}" for number in range(len(self.objectives))]
            inside = [found.column(name).fill_null(False).to_numpy() for name in names]
            passed[DOMAIN] = np.all(inside, axis=0)
        if self.filters.exclude_known:
            passed[KNOWN] = found.column(KNOWN_ID).is_null().to_numpy()
        reasons = excluded_by(passed, found.num_rows)
        return found.drop_columns(ALLOWED).append_column(EXCLUDED_BY, reasons)


def _joined(found: pa.Table, extra: pa.Table, number: int) -> pa.Table:
    """Return the rows of `found` that are in `extra` too, with the columns of that objective."""
    rows = pc.index_in(extra.column(LIBRARY_ROW), found.column(LIBRARY_ROW).combine_chunks())
    found = found.take(rows)
    for name in OF_EXTRA:
        if name in extra.column_names:
            field = extra.schema.field(name).with_name(name + suffix(number))
            found = found.append_column(field, extra.column(name))
    return found
