"""Latest values out of Redis, for tools and scripts that ask now and then instead of listening.

::

    with LatestReader("redis://localhost:6379", api_key="ak_live_...") as latest:
        tick = latest.ticker("BTCUSDT", max_age=5)
        print(tick.data["price"], tick.age, tick.state)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from agentexchange_schemas import Candle, Event, OrderUpdate, Portfolio, Ticker

from ._latest import Answers, Command, Latest, Question, Questions
from .redis import async_client, public_errors, sync_client

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from pydantic import SecretStr

__all__ = ["AsyncLatestReader", "Latest", "LatestReader"]

M = TypeVar("M", bound=Event)


class LatestReader:
    """Reads latest values; thread-safe, connections pooled and opened at first use.

    Every method makes one round trip (the first two, `open_orders` two) and raises `ConnectionError` (also a builtin
    one) when Redis does not answer within ``timeout``, or refuses. With ``max_age`` (seconds) a value that is older, or
    missing, raises `StaleValueError` instead of being handed out; without, a missing value is None.

    Args:
        url: ``redis://…``, ``rediss://…`` or ``unix://…``, as for `AgentExchangeWS`.
        api_key: whose orders and portfolio; not needed for market data.
        prefix: of the keys, where it is not the URL's.
        timeout: seconds for an answer.

    Raises:
        ValueError: the URL, key or prefix is not valid.
    """

    def __init__(
        self, url: str, api_key: str | SecretStr | None = None, *, prefix: str | None = None, timeout: float = 2.0
    ) -> None:
        self._questions = Questions(url, api_key, prefix)
        self._client = sync_client(self._questions.url, timeout_s=timeout)

    def __repr__(self) -> str:
        return f"<LatestReader {self._questions.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections. Idempotent."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def ticker(self, symbol: str, *, max_age: float | None = None) -> Latest[Ticker] | None:
        """The newest price of a pair."""
        return self._ask(self._questions.tickers([symbol], max_age))[symbol]

    def tickers(self, symbols: Iterable[str], *, max_age: float | None = None) -> Answers[Ticker]:
        """The newest prices of up to 5,000 pairs, by the names asked for; `StaleValueError` if one of them is stale."""
        return self._ask(self._questions.tickers(symbols, max_age))

    def candle(self, symbol: str, interval: str, *, max_age: float | None = None) -> Latest[Candle] | None:
        """The last closed candle of a pair."""
        return self._ask(self._questions.candle(symbol, interval, max_age))[symbol]

    def portfolio(self, *, max_age: float | None = None) -> Latest[Portfolio] | None:
        """The account's newest portfolio. Needs ``api_key`` (else `UsageError`)."""
        return self._ask(self._questions.portfolio(max_age))["portfolio"]

    def order(self, order_id: str, *, max_age: float | None = None) -> Latest[OrderUpdate] | None:
        """The newest update of an order: kept while it is open, and for a day after. Needs ``api_key``."""
        return self._ask(self._questions.orders([order_id], max_age))[order_id]

    def open_orders(self) -> dict[str, Latest[OrderUpdate]]:
        """The newest update of each open order, by order id. Needs ``api_key``."""
        command = self._questions.open_orders_command()
        question = self._questions.orders(_texts(self._execute([command])[0]), None)
        return {name: value for name, value in self._ask(question).items() if value is not None}

    def _ask(self, question: Question[M]) -> Answers[M]:
        if not self._questions.knows_layout:
            self._questions.learn_layout(self._execute([self._questions.layout_command])[0])
        return self._questions.answers(question, self._execute(self._questions.commands(question)))

    def _execute(self, commands: list[Command]) -> list[Any]:
        with public_errors(self._questions.url), self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            replies: list[Any] = pipeline.execute()
        return replies


class AsyncLatestReader:
    """`LatestReader` for one event loop: the same methods, awaited."""

    def __init__(
        self, url: str, api_key: str | SecretStr | None = None, *, prefix: str | None = None, timeout: float = 2.0
    ) -> None:
        self._questions = Questions(url, api_key, prefix)
        self._client = async_client(self._questions.url, timeout_s=timeout)

    def __repr__(self) -> str:
        return f"<AsyncLatestReader {self._questions.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the pooled connections. Idempotent."""
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def ticker(self, symbol: str, *, max_age: float | None = None) -> Latest[Ticker] | None:
        """See `LatestReader.ticker`."""
        return (await self._ask(self._questions.tickers([symbol], max_age)))[symbol]

    async def tickers(self, symbols: Iterable[str], *, max_age: float | None = None) -> Answers[Ticker]:
        """See `LatestReader.tickers`."""
        return await self._ask(self._questions.tickers(symbols, max_age))

    async def candle(self, symbol: str, interval: str, *, max_age: float | None = None) -> Latest[Candle] | None:
        """See `LatestReader.candle`."""
        return (await self._ask(self._questions.candle(symbol, interval, max_age)))[symbol]

    async def portfolio(self, *, max_age: float | None = None) -> Latest[Portfolio] | None:
        """See `LatestReader.portfolio`."""
        return (await self._ask(self._questions.portfolio(max_age)))["portfolio"]

    async def order(self, order_id: str, *, max_age: float | None = None) -> Latest[OrderUpdate] | None:
        """See `LatestReader.order`."""
        return (await self._ask(self._questions.orders([order_id], max_age)))[order_id]

    async def open_orders(self) -> dict[str, Latest[OrderUpdate]]:
        """See `LatestReader.open_orders`."""
        command = self._questions.open_orders_command()
        question = self._questions.orders(_texts((await self._execute([command]))[0]), None)
        return {name: value for name, value in (await self._ask(question)).items() if value is not None}

    async def _ask(self, question: Question[M]) -> Answers[M]:
        if not self._questions.knows_layout:
            self._questions.learn_layout((await self._execute([self._questions.layout_command]))[0])
        return self._questions.answers(question, await self._execute(self._questions.commands(question)))

    async def _execute(self, commands: list[Command]) -> list[Any]:
        with public_errors(self._questions.url):
            async with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await pipeline.execute()
        return replies


def _texts(members: Iterable[Any]) -> list[str]:
    return sorted(member.decode(errors="replace") for member in members)
