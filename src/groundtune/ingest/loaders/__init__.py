"""One loader a file kind; each turns a file into pages or rows of text."""
