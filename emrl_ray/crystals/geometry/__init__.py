"""Geometry of periodic cells: lattice, neighbors, contacts, Ewald sums."""
