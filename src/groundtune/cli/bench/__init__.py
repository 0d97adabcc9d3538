"""``groundtune bench``: the project's own benchmarks, each a command that prints one JSON object with ``--json``."""
