"""Currencies, and amounts as people read them.

The codes and their decimals are those of ISO 4217, list one (current currencies and funds), which its maintenance
agency SIX publishes; as of 2026: Bulgaria has the euro. Metals, test codes and the like, which have no smallest unit,
are left out.
"""

from __future__ import annotations

_BY_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY
        COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS
        INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR
        MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP
        STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",  # units of account, in which bills are written all the same
}

#: How many decimals a currency's smallest unit is: 100 cents are one euro, so EUR has 2.
DECIMALS = {code: decimals for decimals, codes in _BY_DECIMALS.items() for code in codes.split()}


def show_amount(minor: int, currency: str) -> str:
    """An amount in the smallest unit as people read it: 123450 EUR is "EUR 1,234.50", 1235 JPY "JPY 1,235".

    KeyError where there is no such currency.
    """
    decimals = DECIMALS[currency]
    # In whole numbers: a float would round what is above 2^53.
    whole, fraction = divmod(abs(minor), 10**decimals)
    sign = "-" if minor < 0 else ""
    return f"{currency} {sign}{whole:,}" + (f".{fraction:0{decimals}}" if decimals else "")
