"""Floor 3: chunks, embeddings, a store, and the hybrid search over them."""
