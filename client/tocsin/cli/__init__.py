"""The `tocsin` command: the client's share of it, and whatever other packages add."""
