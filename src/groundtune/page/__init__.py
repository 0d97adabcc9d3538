"""Self-contained HTML pages: frame and style, escaped text, number formats, small plots."""
