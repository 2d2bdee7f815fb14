"""Payload encryption at rest: a store around a store, that seals what users said and opens it again."""
