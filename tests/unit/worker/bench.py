"""A TCP server of a worker on loopback, with clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

from shardns.worker.tcp import Limits, TcpServer
from tests.unit.worker.fakes import Client, Clock, FakeAnswering, FakeLine


class Bench:
    """A server on loopback with a fake core and a fake miss line."""

    def __init__(self) -> None:
        """Listen; serve begins."""
        self.clock = Clock()
        self.answering = FakeAnswering()
        self.line = FakeLine()
        self.counters = SimpleNamespace(
            tcp_connections=0, tcp_open=5, tcp_evicted=0
        )  # as a killed predecessor left them
        self.clients: list[Client] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        self.server = self.make(Limits())
        self.server.listen({7: self.listening})

    def make(self, limits: Limits) -> TcpServer:
        """A server that does not listen yet."""
        loop = asyncio.get_running_loop()
        return TcpServer(loop, self.answering, self.line, self.counters, clock_ns=self.clock, limits=limits)

    def limit(self, **limits: float) -> None:
        """Change what clients may use."""
        self.server.limits = replace(self.server.limits, **limits)  # type: ignore[arg-type]

    async def connect(self, receive_octets: int = 0) -> Client:
        """A client, accepted by the server."""
        raw = socket.socket()
        if receive_octets:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_octets)
        raw.setblocking(False)
        accepted = self.counters.tcp_connections
        await asyncio.get_running_loop().sock_connect(raw, self.listening.getsockname())
        client = Client(*await asyncio.open_connection(sock=raw))
        self.clients.append(client)
        await self.until(lambda: self.counters.tcp_connections > accepted)
        return client

    async def until(self, is_true: Callable[[], object]) -> None:
        """Let the loop run until that is so."""
        async with asyncio.timeout(10):
            while not is_true():  # noqa: ASYNC110 - conditions of all kinds
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Let the loop run until what was sent on loopback has surely been seen."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def tick_after(self, seconds: float) -> None:
        """Let time pass; then the server looks at it."""
        self.clock.pass_s(seconds)
        self.server.tick()
        await self.settle()
