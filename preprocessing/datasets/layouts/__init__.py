"""One module a layout; each registers itself."""
