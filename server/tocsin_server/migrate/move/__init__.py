"""Queues of one store moved to another, compared, and let go on there."""
