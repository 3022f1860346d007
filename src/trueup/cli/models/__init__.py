"""``trueup sync models`` and ``trueup models``."""
