"""Fitted objects that say how far to believe a prediction."""

from emrl_ray.trust.calibration import Calibration
from emrl_ray.trust.k_nearest import several_nearest
from emrl_ray.trust.nearest import NearestKnown

__all__ = ["Calibration", "NearestKnown", "several_nearest"]
