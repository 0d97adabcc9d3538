"""``/embeddings`` and ``/vector_stores``."""
