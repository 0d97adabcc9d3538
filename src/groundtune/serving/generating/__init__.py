"""Models in memory and the answers they are writing; the project's Systems as models."""
