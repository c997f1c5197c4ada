"""Predictions against known values."""
