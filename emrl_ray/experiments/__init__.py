"""Experiments: the benchmark protocol and hyperparameter search; no Ray."""
