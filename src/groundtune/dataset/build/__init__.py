"""Questions with answers made from documents: by templates, and by a teacher model."""
