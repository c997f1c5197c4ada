"""What a crystal is: tables, batches, files and libraries."""
