"""Text messages over HTTP: settings, length and segments, forms of providers, transports."""
