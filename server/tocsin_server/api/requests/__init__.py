"""Requests, read once: each function takes a request and returns what it asks for in the domain's words, or raises
InvalidFields with all that is wrong, or TooLarge.

A rule is what CONTRACT and the comments of the protos say; nothing here asks the store.
"""
