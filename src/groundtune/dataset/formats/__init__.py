"""Dataset formats: one file each; see CONTRIBUTING.md for what a format module has."""
