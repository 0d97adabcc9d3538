"""``/fine_tuning``: jobs, their processes, their models."""
