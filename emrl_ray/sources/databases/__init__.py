"""Crystals from databases: the Materials Project and OPTIMADE servers."""
