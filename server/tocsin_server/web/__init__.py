"""The dashboard: pages over HTTP, in the same process, which ask nothing but the public API."""
