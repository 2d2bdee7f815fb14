"""How long text messages are, at the edges that cost money."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin_server.messages.sms.length import Length, length_of


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", Length("GSM-7", 0, 0)),
        ("a" * 160, Length("GSM-7", 160, 1)),
        ("a" * 161, Length("GSM-7", 161, 2)),
        ("a" * 306, Length("GSM-7", 306, 2)),
        ("a" * 307, Length("GSM-7", 307, 3)),
        ("€" * 80, Length("GSM-7", 160, 1)),  # two units each
        ("€" * 81, Length("GSM-7", 162, 2)),
        ("a" * 152 + "€" + "a" * 152, Length("GSM-7", 306, 3)),  # the euro is not cut in two, so each is one short
        ("Grüße, Ñandú? ΔΩ @£$¥", Length("UCS-2", 21, 1)),  # ú is in no table
        ("Grüße, Ñ ΔΩ @£$¥ àèéìòù ÄÖÜäöüß", Length("GSM-7", 31, 1)),
        ("{[|]}~\\^\n\r", Length("GSM-7", 18, 1)),
        ("я" * 70, Length("UCS-2", 70, 1)),
        ("я" * 71, Length("UCS-2", 71, 2)),
        ("я" * 134, Length("UCS-2", 134, 2)),
        ("я" * 135, Length("UCS-2", 135, 3)),
        ("😀" * 35, Length("UCS-2", 70, 1)),
        ("я" * 66 + "😀" + "я" * 66, Length("UCS-2", 134, 3)),  # nor is an emoji
        ("ç", Length("UCS-2", 1, 1)),  # only the capital one is in the table
        ("a\xa0b", Length("UCS-2", 3, 1)),
        ("a\tb", Length("UCS-2", 3, 1)),
    ],
)
def test_a_text_is_measured_as_networks_bill_it(text: str, length: Length) -> None:
    assert length_of(text) == length


def test_the_basic_table_has_its_127_characters() -> None:
    # 128 places, of which one is the way to the extension table.
    assert sum(length_of(chr(code)) == Length("GSM-7", 1, 1) for code in range(0x10000)) == 127
    assert sum(length_of(chr(code)) == Length("GSM-7", 2, 1) for code in range(0x10000)) == 10


@given(st.text(max_size=600))
def test_every_unit_fits_into_the_segments_and_none_is_needless(text: str) -> None:
    length = length_of(text)
    most = 153 if length.encoding == "GSM-7" else 67
    assert length.segments <= 1 or (length.segments - 1) * (most - 1) < length.units <= length.segments * most
