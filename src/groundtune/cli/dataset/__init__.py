"""``groundtune dataset ...``: one file a command."""
