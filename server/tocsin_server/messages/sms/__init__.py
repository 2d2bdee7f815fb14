"""Text messages over HTTP: length and segments, forms of providers, transports."""
