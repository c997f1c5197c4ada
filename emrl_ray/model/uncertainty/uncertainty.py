"""All that a model knows of how far to believe it, in two files of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from emrl_ray.model.uncertainty.applicability_domain import ApplicabilityDomain
from emrl_ray.model.uncertainty.conformal import ConformalCalibration


class Uncertainty(NamedTuple):
    """Fitted objects of one model."""

    calibrations: Mapping[str, ConformalCalibration]
    """By head; empty for a model without calibration rows."""
    domain: ApplicabilityDomain | None
    """None for a model of the first format, which kept none."""
