"""Tocsin: schedule jobs over gRPC."""
