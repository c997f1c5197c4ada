"""The report of a search of hyperparameters."""
