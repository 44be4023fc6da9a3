"""The currencies that an organization may pay in: those of ISO 4217 whose minor unit is a hundredth, in one table.

The minor unit is a cent everywhere: invoices, top-ups and payment providers count in it. A currency with none or with
thousandths is refused rather than guessed at, as is one whose minor unit a provider counts otherwise (MGA).
"""

from typing import Final

from moorage.kernel.errors import InvalidInput

#: What an instance charges in unless its operator says otherwise.
USD: Final = "USD"
#: https://www.six-group.com/en/products-services/financial-information/data-standards.html, list one, minor unit 2.
CENTS: Final = tuple(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC
    CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD
    KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR
    NZD PAB PEN PGK PHP PKR PLN QAR RON RSD SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SZL THB TJS TMT TOP
    TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW
    """.split()  # noqa: SIM905 - a table that people read
)
_WITHOUT_CENTS: Final = frozenset(
    """
    BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF BHD IQD JOD KWD LYD OMR TND MGA MRU
    """.split()  # noqa: SIM905
)
_KNOWN: Final = frozenset(CENTS)


class CurrencyRefused(InvalidInput):
    """This is no currency that an organization can pay in. Give an ISO 4217 code such as EUR."""

    code = "currency_refused"


def parse(text: str, *, param: str = "currency") -> str:
    """The ISO 4217 code in ``text``, in capitals. Raises CurrencyRefused with the reason in one sentence."""
    code = text.strip().upper()
    if code in _KNOWN:
        return code
    if code in _WITHOUT_CENTS:
        raise CurrencyRefused(
            f"{code} is not divided into a hundred parts, and every amount here is counted in hundredths.", param=param
        )
    raise CurrencyRefused(f"{code[:20] or 'Nothing'} is no currency that is known here, such as EUR.", param=param)
