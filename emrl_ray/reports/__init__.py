"""What people read: tables, figures, maps, and the page of a screen."""
