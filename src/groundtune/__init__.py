"""groundtune: get your own data into a language model, and measure which way works.

Importing the package loads nothing heavy; commands import what they need when they need it.
"""

__version__ = "0.1.0"
