"""All checks, in the order they are told of."""

from __future__ import annotations

from tocsin_server.conformance.checking import Check
from tocsin_server.conformance.checks import cancelling, leases, links, outcomes, payloads, saying, stopping

ALL: tuple[Check, ...] = (
    *payloads.CHECKS,
    *outcomes.CHECKS,
    *saying.CHECKS,
    *leases.CHECKS,
    *cancelling.CHECKS,
    *links.CHECKS,
    *stopping.CHECKS,
)
