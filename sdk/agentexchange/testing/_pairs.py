"""The pairs of the sandbox: names, starting prices and decimal places as a real spot exchange has them."""

from __future__ import annotations

import math
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_PAIRS", "PairSpec", "make_pairs"]

# Base assets with a plausible price in US dollars, the most traded first.
_DOLLARS = """
BTC 64521.3 ETH 3187.45 SOL 148.22 BNB 572.4 XRP 0.5231 DOGE 0.12345 ADA 0.4412 AVAX 27.31 LINK 13.84
TRX 0.1382 DOT 6.021 MATIC 0.5214 LTC 71.93 BCH 351.2 UNI 7.41 ATOM 6.72 NEAR 5.18 APT 8.43 ARB 0.7124
OP 1.682 FIL 4.31 ICP 9.12 ETC 22.84 XLM 0.0981 INJ 22.47 RNDR 6.83 IMX 1.523 SUI 0.9312 SEI 0.3641
TIA 6.912 STX 1.742 AAVE 92.31 MKR 2384 GRT 0.1923 ALGO 0.1412 VET 0.02514 FTM 0.4821 SAND 0.3214 MANA 0.3341
AXS 5.921 EGLD 31.24 THETA 1.462 XTZ 0.7914 EOS 0.5623 FLOW 0.6412 KAVA 0.4213 GALA 0.02341 CHZ 0.07124
CRV 0.3124 LDO 1.874 SNX 1.923 COMP 51.24 YFI 6412 DYDX 1.342 ENJ 0.1824 ZIL 0.01623 BAT 0.1923 ZRX 0.3412
ONE 0.01412 HOT 0.001823 ANKR 0.02741 IOTX 0.0412 CELO 0.6123 QTUM 2.714 ZEC 29.41 DASH 26.12 NEO 11.24
WAVES 1.124 KSM 21.42 ROSE 0.07412 RUNE 4.213 CAKE 2.134 SUSHI 0.7234 ENS 24.13 GMT 0.1642 APE 0.9341
WLD 2.412 PYTH 0.3214 JUP 0.8412 STRK 0.6912 JTO 2.514 BLUR 0.1923 MASK 2.612 MAGIC 0.4412 HOOK 0.5123
ID 0.4123 EDU 0.5912 CYBER 4.213 ARKM 1.823 MEME 0.01923 ORDI 38.21 BONK 0.00002312 PEPE 0.00001124
SHIB 0.00001742 FLOKI 0.0001623 WIF 2.214 BOME 0.009123 NOT 0.01412 PEOPLE 0.07123 LUNC 0.00009124 XEC 0.00003412
ENA 0.4912 ETHFI 2.314 PENDLE 4.213 ALT 0.1623 MANTA 0.9213 DYM 1.642 PIXEL 0.2314 PORTAL 0.4123 AEVO 0.5214
W 0.3412 TNSR 0.5123 OMNI 12.41 REZ 0.08213 BB 0.4412 IO 2.623 ZK 0.1723 LISTA 0.4912 ZRO 3.412 BANANA 52.31
TON 6.812 KAS 0.1712 HNT 4.213 AR 28.41 JASMY 0.02314 FET 1.342 AGIX 0.5912 OCEAN 0.5712 TAO 312.4 AKT 3.412
TRB 68.12 GMX 28.41 RPL 21.34 SSV 34.12 LQTY 0.9123 FXS 2.914 CVX 2.412 BAL 2.714 UMA 2.314 BAND 1.142
API3 2.012 NMR 18.41 OXT 0.08412 LRC 0.1824 SKL 0.04712 STORJ 0.4123 CTSI 0.1612 COTI 0.1042 CELR 0.01712
DENT 0.0009412 WIN 0.00009812 BTT 0.000001012 RVN 0.02012 DGB 0.008412 SC 0.005123 ICX 0.1612 ONT 0.2012
LSK 0.9123 KNC 0.5412 BNT 0.5912 REQ 0.1123 RLC 2.012 STMX 0.006412 HIVE 0.2314 STEEM 0.2012 ARDR 0.08123
POWR 0.2412 DUSK 0.2612 PHB 1.412 AMB 0.008123 ALICE 1.042 TLM 0.01123 SLP 0.003412 YGG 0.5412 AUDIO 0.1623
GLM 0.3412 SUPER 0.9412 RAD 1.412 QNT 78.12 CFX 0.1612 ACH 0.02014 SPELL 0.0007123 JOE 0.4123 HIGH 1.612
"""
_QUOTES = (("USDT", 1.0), ("USDC", 1.0), ("FDUSD", 1.0), ("BTC", 64521.3), ("ETH", 3187.45), ("BNB", 572.4))
_MOST_DECIMALS = 8
_LEAST_UNITS = 500  # a price of fewer smallest units than this would move in visible jumps


class PairSpec(NamedTuple):
    """One pair before its first tick.

    ``price`` and ``lot`` count smallest units: ``price / 10**price_decimals`` is the price in the quote
    asset, and ``lot / 10**lot_decimals`` an everyday order of about 50 dollars in the base asset.
    ``price_decimals + lot_decimals <= 8``, so price times quantity is exact to eight places.
    ``weight`` is the share of the market's ticks, ``volatility`` the typical relative move per tick.
    """

    symbol: str
    price: int
    price_decimals: int
    lot: int
    lot_decimals: int
    weight: float
    volatility: float


def _shape(dollars: float, quote: float) -> tuple[int, int, int, int]:
    price = dollars / quote
    magnitude = math.floor(math.log10(price))
    price_decimals = min(max(4 - magnitude, 2), _MOST_DECIMALS)
    lot_decimals = min(max(math.floor(math.log10(dollars)) + 1, 0), _MOST_DECIMALS - price_decimals, 5)
    units = round(price * 10**price_decimals)
    return units, price_decimals, max(1, round(50 / dollars * 10**lot_decimals)), lot_decimals


def _names() -> Iterator[tuple[str, float, float]]:
    words = _DOLLARS.split()
    bases = [(name, float(price)) for name, price in zip(words[::2], words[1::2], strict=True)]
    for quote, value in _QUOTES:
        for base, dollars in bases:
            if base != quote and round(dollars / value * 10**_MOST_DECIMALS) >= _LEAST_UNITS:
                yield base + quote, dollars, value


MAX_PAIRS = sum(1 for _ in _names())


def make_pairs(count: int, seed: int) -> list[PairSpec]:
    """The first ``count`` pairs (BTCUSDT, ETHUSDT, SOLUSDT lead), their shares and volatilities by ``seed``.

    The shares have a heavy tail, as on a real exchange: few pairs make most of the ticks.

    Raises:
        ValueError: ``count`` is below 1 or above ``MAX_PAIRS``.
    """
    if not 1 <= count <= MAX_PAIRS:
        raise ValueError(f"pairs must be 1 to {MAX_PAIRS}, not {count}")
    rng = Random(f"pairs:{seed}")  # noqa: S311  # a market to test with, not a secret
    pairs = []
    for rank, (symbol, dollars, quote) in enumerate(islice(_names(), count)):
        weight = rng.lognormvariate(0, 0.5) / (rank + 2) if rank > 2 else 1 / (rank + 2)  # noqa: PLR2004  # the leaders keep their share
        volatility = 2e-5 * rng.lognormvariate(0, 0.6) * (1 + math.log1p(rank))
        pairs.append(PairSpec(symbol, *_shape(dollars, quote), weight, volatility))
    return pairs
