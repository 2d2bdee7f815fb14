"""Amounts as people read them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.domain.currencies import DECIMALS, show_amount


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (123450, "EUR", "EUR 1,234.50"),
        (5, "USD", "USD 0.05"),
        (1235, "JPY", "JPY 1,235"),
        (1235, "KWD", "KWD 1.235"),
        (7, "BHD", "BHD 0.007"),
        (12345, "CLF", "CLF 1.2345"),
        (100, "ISK", "ISK 100"),
        (2**63 - 1, "EUR", "EUR 92,233,720,368,547,758.07"),  # a double would round it
        (-150, "GBP", "GBP -1.50"),
        (0, "CHF", "CHF 0.00"),
    ],
)
def test_an_amount_has_its_currencys_decimals(minor: int, currency: str, shown: str) -> None:
    assert show_amount(minor, currency) == shown


def test_the_table_is_that_of_iso_4217() -> None:
    # List one of 2026-01-01: 165 codes with a smallest unit. BGN, HRK and ANG are gone from it, XCG and ZWG have come.
    assert Counter(DECIMALS.values()) == {0: 17, 2: 139, 3: 7, 4: 2}
    assert all(len(code) == 3 and code.isalpha() and code.isupper() for code in DECIMALS)
    assert not {"BGN", "HRK", "ANG", "XAU", "XXX", "XTS"} & DECIMALS.keys()
    assert {"XCG", "ZWG", "SLE", "VED"} <= DECIMALS.keys()


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(sorted(DECIMALS)))
def test_no_amount_is_rounded(minor: int, currency: str) -> None:
    code, _, number = show_amount(minor, currency).partition(" ")
    assert code == currency
    assert int(number.replace(",", "").replace(".", "")) == minor


def test_a_currency_that_is_none_is_told() -> None:
    with pytest.raises(KeyError):
        show_amount(1, "EURO")
