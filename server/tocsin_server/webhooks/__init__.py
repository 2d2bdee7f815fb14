"""The way out to other programs: HTTP requests that jobs make."""
