"""Screening of a library."""
