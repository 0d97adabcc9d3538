"""``/moderations``."""
