"""Payloads: readable, not too deep, without NaN and infinity, and what the built-in types ask of their messages."""
