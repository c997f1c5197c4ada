"""Fitted objects that say how far to believe a prediction."""

from emrl_ray.trust.calibration import Calibration, residuals_of_best
from emrl_ray.trust.domain import Domain
from emrl_ray.trust.k_nearest import several_nearest
from emrl_ray.trust.nearest import NearestKnown
from emrl_ray.trust.plane import Plane
from emrl_ray.trust.trust import Trust

__all__ = [
    "Calibration",
    "Domain",
    "NearestKnown",
    "Plane",
    "Trust",
    "residuals_of_best",
    "several_nearest",
]
