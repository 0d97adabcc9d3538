"""What a training file is like: numbers (``measure``) and the page that shows them (``page``)."""
