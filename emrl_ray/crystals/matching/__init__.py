"""Whether two crystals are the same."""
