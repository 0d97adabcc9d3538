"""The red-team set, the scripted reader that obeys it, and the table of what gets through."""
