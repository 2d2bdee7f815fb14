"""Test your jobs: a server with a store and a clock of its own, and handlers called in this process.

See docs/testing.md. What is started needs `tocsin[server]`; `run_handler` needs the client alone.
"""

from tocsin.testing.handlers import HandlerRun, run_handler
from tocsin.testing.server import DrivenClock, JobServer, ServerNotStarted, job_server

__all__ = ["DrivenClock", "HandlerRun", "JobServer", "ServerNotStarted", "job_server", "run_handler"]
