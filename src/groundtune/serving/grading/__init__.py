"""``/fine_tuning/alpha/graders``."""
