"""Where vectors and full text are kept and searched."""
