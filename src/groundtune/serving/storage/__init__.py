"""What the server keeps: objects in a database, the bytes of files beside it, whose they are."""
