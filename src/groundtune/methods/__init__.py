"""Floor 6: the ways to get documents into a model, each a `System`."""
