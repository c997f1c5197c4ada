"""The benchmark's tables, figures and page."""
