"""Imports gRPC without its own fork handlers, unless the environment asks for them.

They are switched on in the wheels, and start core threads anew in each forked child. Beside asyncio's poller, which is
not started anew, those threads crash: a child that never calls gRPC dies of SIGSEGV now and then. gRPC reads the
variable when it is imported, so that it need not stand in the environment of other programs that are started.
"""

import os

_VARIABLE = "GRPC_ENABLE_FORK_SUPPORT"

if _VARIABLE in os.environ:
    import grpc
else:
    os.environ[_VARIABLE] = "0"
    try:
        import grpc  # noqa: F401 - all other modules import it after this one
    finally:
        del os.environ[_VARIABLE]
