"""What is told of the server while it runs: its log, and its metrics."""
