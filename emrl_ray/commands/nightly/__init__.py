"""Nightly screening of new files."""
