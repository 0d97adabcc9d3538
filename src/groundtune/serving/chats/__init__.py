"""``/chat/completions``, ``/completions`` and ``/responses``."""
