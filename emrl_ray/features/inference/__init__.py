"""Compiled kernels from crystal to embedding, without torch."""
