"""Pages that nginx stores itself: a part of the site that Django does not store."""
