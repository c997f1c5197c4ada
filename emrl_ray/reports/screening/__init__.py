"""The report of a screening run, a page for a browser."""
