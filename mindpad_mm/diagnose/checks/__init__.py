"""The checks: a package for each, in which ``measure`` computes the result and ``plot`` draws it."""
