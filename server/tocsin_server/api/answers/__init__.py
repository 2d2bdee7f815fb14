"""Answers: what was done and what stands, as protos."""
