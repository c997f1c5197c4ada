"""Ray: one pipeline a file."""
