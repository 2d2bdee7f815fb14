"""Proves a worker program right, in whatever language it is: `tocsin conformance -- ./my_worker`.

A real server, a relay before it that sees each message and can alter it, and doors before that which can be cut.
"""
