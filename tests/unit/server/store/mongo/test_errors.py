"""Each error of pymongo and each code of a mongod has a place: it acted, it did not, that is unknown, or it is ours."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pymongo.errors
import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteError,
    WTimeoutError,
)
from pymongo.helpers_shared import _NOT_PRIMARY_CODES, _RETRYABLE_ERROR_CODES
from tocsin_server.domain.errors import OutcomeUnknown, StoreAway, StoreFull
from tocsin_server.store.mongo.errors import domain_error

#: Where no repeat helps, or whoever sent the command looks for it.
OURS = {2, 9, 14, 59, 67, 72, 85, 86, 10334, 11000, 17419, 17420, 40324, 40414, 40415}
#: A mongod's codes (its error_codes.yml): all small ones, used and unused, and the large ones.
CODES = {
    *range(1, 500),
    *(9001, 10003, 10107, 10334, 11000, 11600, 11601, 11602, 13297, 13388, 13435, 13436, 14031, 17280, 46841, 50768),
    *_NOT_PRIMARY_CODES,
    *_RETRYABLE_ERROR_CODES,
}
TURNED_AWAY = {13, 18, 8000}


def failure(code: int, *labels: str) -> OperationFailure:
    kind = WriteError if code % 2 else OperationFailure
    return kind("no", code, {"errorLabels": list(labels), "code": code})


def everything() -> Iterator[PyMongoError]:
    """An error of each class that pymongo has."""
    for _, kind in inspect.getmembers(pymongo.errors, inspect.isclass):
        if not issubclass(kind, PyMongoError):
            continue
        if issubclass(kind, BulkWriteError):
            yield kind({"writeErrors": [{"code": 1, "index": 0}]})
        elif issubclass(kind, pymongo.errors.EncryptedCollectionError):
            yield kind(ValueError("no"), {})
        elif issubclass(kind, pymongo.errors.EncryptionError):
            yield kind(ValueError("no"))
        elif kind.__name__ == "ClientBulkWriteException":
            yield kind({"error": None, "writeErrors": [], "writeConcernErrors": []}, verbose=False)
        else:
            yield kind("no")


def test_what_was_never_sent_did_not_act_whatever_went_wrong() -> None:
    errors = [ServerSelectionTimeoutError("no"), WaitQueueTimeoutError("no"), AutoReconnect("no"), *map(failure, CODES)]
    for error in errors:
        if getattr(error, "code", None) not in OURS:
            assert isinstance(domain_error(error, sent=0), (StoreAway, StoreFull))


@pytest.mark.parametrize("sent", [1, 2])
def test_what_was_sent_may_have_acted(sent: int) -> None:
    for code in CODES - OURS - TURNED_AWAY - {14031}:
        assert isinstance(domain_error(failure(code), sent=sent), OutcomeUnknown), code
    for error in (ServerSelectionTimeoutError("no"), WaitQueueTimeoutError("no"), AutoReconnect("no")):
        assert isinstance(domain_error(error, sent=sent), OutcomeUnknown)


@pytest.mark.parametrize("sent", [1, 2])
def test_a_server_that_says_that_it_did_nothing_is_believed(sent: int) -> None:
    error = NotPrimaryError("no", {"errorLabels": ["NoWritesPerformed"], "code": 10107})
    assert isinstance(domain_error(error, sent=sent), StoreAway)


def test_who_is_not_allowed_is_told_so_before_anything_is_done() -> None:
    for code in TURNED_AWAY:
        assert isinstance(domain_error(failure(code), sent=1), StoreAway)
        assert isinstance(domain_error(failure(code), sent=2), OutcomeUnknown)  # what became of the first, nobody knows


def test_a_full_disk_is_said_of_one_attempt() -> None:
    assert isinstance(domain_error(failure(14031), sent=1), StoreFull)
    assert isinstance(domain_error(failure(14031), sent=2), OutcomeUnknown)


def test_a_write_that_no_majority_confirmed_stands() -> None:
    error = WTimeoutError("no", 64, {"errorLabels": ["NoWritesPerformed"]})
    assert isinstance(domain_error(error, sent=1), OutcomeUnknown)


def test_reads_that_fail_changed_nothing() -> None:
    for code in CODES - OURS:
        assert isinstance(domain_error(failure(code), sent=None), (StoreAway, StoreFull)), code


def test_what_no_repeat_mends_is_raised_as_it_is() -> None:
    for code in OURS:
        assert domain_error(failure(code), sent=1) is None
        assert domain_error(failure(code), sent=None) is None
    assert domain_error(DuplicateKeyError("no", 11000), sent=1) is None


def test_each_class_of_pymongos_has_a_place() -> None:
    ours = {"CollectionInvalid", "InvalidName", "InvalidOperation", "InvalidURI", "DuplicateKeyError"}
    unplaced = {type(error).__name__ for error in everything() if domain_error(error, sent=1) is None}
    assert unplaced <= ours


@pytest.mark.parametrize(
    ("codes", "acted", "refusal"),
    [
        ([11000, 11000], 3, None),  # the caller asks which
        ([14031], 0, StoreFull),
        ([14031], 3, OutcomeUnknown),
        ([11000, 14031], 0, StoreFull),
        ([262], 0, OutcomeUnknown),
        ([11000, 112], 1, OutcomeUnknown),
        ([2], 0, None),
    ],
)
def test_of_several_writes_each_may_have_acted(codes: list[int], acted: int, refusal: type | None) -> None:
    error = BulkWriteError({"writeErrors": [{"code": code, "index": 0} for code in codes], "nMatched": acted})
    assert type(domain_error(error, sent=1)) is (refusal or type(None))


def test_several_writes_that_no_majority_confirmed_stand() -> None:
    error = BulkWriteError({"writeConcernErrors": [{"code": 64}], "writeErrors": [], "nInserted": 2})
    assert isinstance(domain_error(error, sent=1), OutcomeUnknown)
