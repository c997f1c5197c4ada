"""Fitted objects that say how far to believe a prediction."""

from emrl_ray.model.uncertainty.applicability_domain import Domain
from emrl_ray.model.uncertainty.conformal import Calibration, residuals_of_best
from emrl_ray.model.uncertainty.nearest_neighbor import NearestKnown, several_nearest
from emrl_ray.model.uncertainty.pca_map import Plane
from emrl_ray.model.uncertainty.uncertainty import Trust

__all__ = [
    "Calibration",
    "Domain",
    "NearestKnown",
    "Plane",
    "Trust",
    "residuals_of_best",
    "several_nearest",
]
