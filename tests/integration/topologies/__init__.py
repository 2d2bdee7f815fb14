"""Whole servers on Redis as companies run it: TLS and ACL, sentinels, cluster."""
