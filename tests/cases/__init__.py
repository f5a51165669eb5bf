"""Checks that every backbone, layout and node passes: subclass a case, and name what is yours."""
