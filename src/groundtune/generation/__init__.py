"""Writing tokens for many requests at once: one model in memory, continuous batching, exact log-probabilities."""
