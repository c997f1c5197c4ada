"""Generated crystals: prototypes, substitutions, perovskites."""
