"""loopcheck.py: a probe that is seen twice has come back."""

from __future__ import annotations

import asyncio
import socket

from shardns.dns import codes, message, names
from shardns.upstream.flights import Flight
from shardns.upstream.loopcheck import LoopCheck, Target


def flight(name: str) -> Flight:
    """A flight for HINFO of name."""
    query = message.query(names.to_wire(name), codes.Type.HINFO, id=0)
    return Flight(b"", 0, codes.Type.HINFO, False, query)


def probed(check: LoopCheck, server: socket.socket, answered: bool) -> str:
    """Run the check against a server that answers or does not for a moment; the name of its first probe."""

    async def main() -> str:
        running = asyncio.create_task(check.run())
        wire, client = await asyncio.get_running_loop().sock_recvfrom(server, 512)
        name = names.from_wire(wire, 12)
        check.seen(flight(name))
        if answered:
            server.sendto(wire, client)
            await asyncio.wait_for(running, 5)
        else:
            check.seen(flight(name.upper()))
            running.cancel()
        return name

    return asyncio.run(main())


def nameserver() -> socket.socket:
    """A bound UDP socket that answers nothing by itself."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def test_a_probe_that_is_answered_is_no_loop():
    """The probe asks HINFO for two random labels under the zone; its answer ends the check."""
    reasons: list[str] = []
    with nameserver() as server:
        check = LoopCheck([Target("example.org.", "127.0.0.1", server.getsockname()[1])], reasons.append)
        name = probed(check, server, answered=True)
    assert name.endswith(".example.org.")
    assert names.labels(name) == 4
    assert reasons == []
    check.seen(flight(name))
    check.seen(flight(name))
    assert reasons == []  # the check is over


def test_a_probe_that_comes_back_is_a_loop():
    """Seen a second time, in whatever case, the reason is CoreDNS's sentence."""
    reasons: list[str] = []
    with nameserver() as server:
        port = server.getsockname()[1]
        check = LoopCheck([Target(".", "127.0.0.1", port)], reasons.append)
        name = probed(check, server, answered=False)
    wanted = (
        f'plugin/loop: Loop (127.0.0.1:{port} -> 127.0.0.1:{port}) detected for zone ".", '
        f'see https://coredns.io/plugins/loop#troubleshooting. Query: "HINFO {name}"'
    )
    assert reasons == [wanted]


def test_strangers_hinfo_is_none_of_its_business():
    """HINFO queries of clients are no probes, however often they come."""
    reasons: list[str] = []
    check = LoopCheck([], reasons.append)
    for _ in range(5):
        check.seen(flight("host.example.org."))
    assert reasons == []
