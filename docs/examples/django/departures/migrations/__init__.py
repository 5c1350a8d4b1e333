"""See Django."""
