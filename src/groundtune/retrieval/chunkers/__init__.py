"""What cuts a document's sections into chunks."""
