"""Measures a real server on a real Redis. Run `python tests/bench --help`."""
