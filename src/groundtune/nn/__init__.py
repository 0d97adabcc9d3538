"""Floor 2: models: shapes, better starts, tokenizers, adapters, weights on disk."""
