"""What happens around every call, one concern a module.

Outermost first: call log, errors, draining, overload, deadline.

An interceptor is an object with `around(call)`, an async context manager that is put around the call's work. They are
put around a method once, when the server is assembled, and not looked up again for each call.
"""
