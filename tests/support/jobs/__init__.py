"""Handler modules that tests give to a server with --handlers."""
