"""Bulk actions on each store, and through servers that are killed."""
