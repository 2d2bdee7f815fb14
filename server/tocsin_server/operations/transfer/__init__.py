"""All that stands in a store, read out to be moved, and brought in where it was moved to."""
