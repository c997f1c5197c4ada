"""Fitted objects that say how far to believe a prediction."""

from emrl_ray.model.uncertainty.applicability_domain import ApplicabilityDomain
from emrl_ray.model.uncertainty.conformal import ConformalCalibration, residuals_of_best
from emrl_ray.model.uncertainty.nearest_neighbor import NearestNeighborIndex, several_nearest
from emrl_ray.model.uncertainty.pca_map import PcaMap
from emrl_ray.model.uncertainty.uncertainty import Uncertainty

__all__ = [
    "ApplicabilityDomain",
    "ConformalCalibration",
    "NearestNeighborIndex",
    "PcaMap",
    "Uncertainty",
    "residuals_of_best",
    "several_nearest",
]
