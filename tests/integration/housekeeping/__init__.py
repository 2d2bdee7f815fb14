"""Clean-up and reports on each store."""
