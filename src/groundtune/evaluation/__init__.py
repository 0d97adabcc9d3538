"""Floor 6: systems asked the same questions, scored, compared with intervals, and reported."""
