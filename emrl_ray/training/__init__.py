"""Losses, trainer, splits and metrics; no Ray, no files."""
