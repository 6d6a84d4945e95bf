"""POST: everything between two matrix products, `lanes` elements a cycle."""
