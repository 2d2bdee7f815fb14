"""The words of Tocsin, pure: no I/O, no `await`, only the standard library."""
