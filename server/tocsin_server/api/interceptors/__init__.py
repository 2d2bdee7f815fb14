"""What happens around every call, one concern a module.

Outermost first: call log, counting (where metrics are served), errors, auth where principals are named, draining,
overload, deadline.

An interceptor is an object with `around(work)`: the same work with its concern around it. They are put around a method
once, when the server is assembled. Plain coroutines, for an async context manager costs 5 µs at each call, and there
are five of them: with uvloop each is an async generator that is entered into a weak set, and taken out of it.
"""
