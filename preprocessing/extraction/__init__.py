"""From clips to Examples: the Beam transform, its store, its records and its report."""
