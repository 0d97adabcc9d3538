"""Saved adapters of every kind put on a model for answering: merged by hand where that can be, attached where not."""
