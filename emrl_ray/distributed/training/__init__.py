"""Training over workers, on Ray or in this process."""
