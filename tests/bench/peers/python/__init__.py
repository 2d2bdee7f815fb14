"""Peers in Python, each run in a virtual environment of its own; nothing here may import what only the bench has."""
