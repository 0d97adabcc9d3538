"""Floor 3: files of any kind become documents with provenance."""
