"""What looks at candidates a second time; a module has ``open_reranker(generate)``."""
