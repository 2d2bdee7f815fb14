"""Runs attempts: in a worker process of the user's, and inside the server."""
