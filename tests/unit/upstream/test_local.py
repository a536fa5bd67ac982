"""local.py and chain.py: the plugins that answer by themselves, between a flight and `forward`."""

from __future__ import annotations

import asyncio
import os
from time import monotonic_ns

import dns.message
import dns.rcode
import pytest

from shardns.core import lib
from shardns.dns.answer import OWNER, Answer, Refusal, record
from shardns.exchange import Failure, Outcome
from shardns.upstream import chain, local
from shardns.upstream.chain import LocalRoute, Route, Routes
from shardns.upstream.flights import Flight
from shardns.upstream.local import Local
from tests.unit.plan.plans import make

SECOND_NS = 1_000_000_000


class Stage:
    """The routes of a Corefile, inside a loop."""

    def __init__(self, corefile: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.routes = Routes(make(corefile), self.loop)

    @property
    def route(self) -> Route:
        """Of the first block."""
        return self.routes.by_block[0]

    async def ask(self, name: str, rtype: str = "A") -> Outcome:
        """What becomes of a question to the first block."""
        flight = self.flight(name, rtype)
        done: asyncio.Future[Outcome] = self.loop.create_future()
        self.route.ask(flight, done.set_result)
        assert not done.done()
        return await done

    @staticmethod
    def flight(name: str, rtype: str = "A") -> Flight:
        """A question's flight."""
        query = dns.message.make_query(name, rtype)
        query.id = 0
        return Flight(b"", 0, query.question[0].rdtype, False, query.to_wire())


def records(outcome):
    """The records of an outcome's answer."""
    assert outcome.wire is not None
    return [f"{rrset.ttl} {rdata}" for rrset in dns.message.from_wire(outcome.wire).answer for rdata in rrset]


INLINE = "cache 30\nhosts {\n192.0.2.1 a.example.org\n}\n"


@pytest.mark.parametrize(
    "text, kind",
    [("forward . 192.0.2.53", Route), ("hosts", LocalRoute), ("hosts\nforward . 192.0.2.53", LocalRoute)],
)
def test_blocks_with_forward_only_have_the_short_way(text, kind):
    """The longer way is of blocks that have a plugin for it."""

    async def run():
        assert type(Stage(f". {{\n{text}\n}}").route) is kind

    asyncio.run(run())


@pytest.mark.parametrize("cache, writer", [("cache 30\n", lib.SHD_BY_CACHE), ("", lib.SHD_BY_HOSTS)])
def test_answer(cache, writer):
    """An answer is handed over from the loop, in the name of who wrote it."""

    async def run():
        outcome = await Stage(f". {{\n{cache}hosts {{\n192.0.2.1 a.example.org\n}}\n}}").ask("a.example.org")
        assert isinstance(outcome, Local)
        assert outcome.is_kept
        assert outcome.writer == writer
        assert records(outcome) == ["3600 192.0.2.1"]

    asyncio.run(run())


@pytest.mark.parametrize(
    "text, name, detail",
    [
        ("hosts {\n192.0.2.1 a\n}", "b", ""),
        ("hosts {\n192.0.2.1 a\nfallthrough\n}", "b", "plugin/hosts: no next plugin found"),
        ("hosts {\n192.0.2.1 a\nfallthrough\n}\nloop", "b", "plugin/loop: no next plugin found"),
        ("hosts {\nfallthrough\n}\nforward x 192.0.2.53", "b", "plugin/forward: no next plugin found"),
        ("cache", "b", "plugin/forward: no next plugin found"),
    ],
)
def test_no_answer(text, name, detail, capfd):
    """SERVFAIL that is meant so is no error; a chain that ends without an answer is, in CoreDNS's words."""

    async def run():
        stage = Stage(f". {{\nerrors\n{text}\n}}")
        outcome = await stage.ask(name)
        assert (outcome.wire, outcome.detail) == (None, detail)
        stage.route.failed(stage.flight(name), outcome)

    asyncio.run(run())
    assert ("plugin/errors: 2 b. A: " in capfd.readouterr().out) == bool(detail)


def test_falls_through_to_forward():
    """What hosts lets go is asked of the nameserver."""

    async def run():
        stage = Stage(". {\nhosts {\nfallthrough\n}\nforward . 127.0.0.1:1\n}")
        outcome = await stage.ask("missing.example.org")
        assert outcome.wire is None
        assert outcome.failure is not Failure.ALL_DOWN
        await stage.routes.close()

    asyncio.run(run())


@pytest.mark.parametrize("stacktrace", ["", " {\nstacktrace\n}"])
def test_an_exception_costs_its_query_only(stacktrace, monkeypatch, capfd):
    """It is printed, with its stack if `errors` says so, and counted; the client gets SERVFAIL without another line."""

    async def run():
        stage = Stage(f". {{\nerrors{stacktrace}\n{INLINE}}}")
        counted = []
        stage.routes.local.count_panic = lambda: counted.append(1)
        monkeypatch.setattr(local.Hosts, "answer", lambda *_: 1 // 0)
        outcome = await stage.ask("a.example.org")
        assert (outcome.wire, outcome.detail, counted) == (None, "", [1])
        stage.route.failed(stage.flight("a.example.org"), outcome)

    asyncio.run(run())
    out = capfd.readouterr().out
    assert "\n" + '[ERROR] Recovered from panic in server: "dns://:53" ZeroDivisionError' in out
    assert ("Traceback" in out) == bool(stacktrace)
    assert "plugin/errors" not in out


# ---- the hosts file


def corefile(path):
    """A block with that file."""
    return f". {{\nhosts {path} {{\n192.0.2.9 z.example.org\nreload 5s\n}}\n}}"


async def tick(stage, seconds):
    """Let so much time pass for the plugins, and a thread that reads finish."""
    stage.routes.tick(monotonic_ns() + seconds * SECOND_NS)
    while (reading := stage.route._plugins[0]._reading) is not None:
        await asyncio.wait([reading])
        await asyncio.sleep(0)


def test_a_file_is_read_again_when_it_changed(tmp_path):
    """Its size or its time of change tell; not before the interval is over."""
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 a.example.org\n")

    async def run():
        stage = Stage(corefile(path))
        counts = stage.routes.local.counts
        assert counts.hosts_entries == {str(path): 4}
        assert counts.hosts_changed_s == pytest.approx(path.stat().st_mtime)
        path.write_text("192.0.2.2 a.example.org\n192.0.2.3 a.example.org\n")
        await tick(stage, 4)
        assert records(await stage.ask("a.example.org")) == ["3600 192.0.2.1"]
        await tick(stage, 6)
        assert records(await stage.ask("a.example.org")) == ["3600 192.0.2.2", "3600 192.0.2.3"]
        assert counts.hosts_entries == {str(path): 6}
        path.write_text("192.0.2.2 a.example.org\n192.0.2.4 a.example.org\n")
        os.utime(path, ns=(1, 1))
        await tick(stage, 20)
        assert records(await stage.ask("a.example.org")) == ["3600 192.0.2.2", "3600 192.0.2.4"]
        path.write_text("192.0.2.2 a.example.org\n192.0.2.5 a.example.org\n")
        os.utime(path, ns=(1, 1))
        await tick(stage, 40)
        assert records(await stage.ask("a.example.org")) == ["3600 192.0.2.2", "3600 192.0.2.4"]
        assert records(await stage.ask("z.example.org")) == ["3600 192.0.2.9"]

    asyncio.run(run())


def test_a_file_that_cannot_be_read_leaves_what_was_read_last(tmp_path, capfd):
    """Missing, a directory, a pipe: said once, until it can be read again."""
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 a.example.org\n")

    async def run():
        stage = Stage(corefile(path))
        path.unlink()
        await tick(stage, 10)
        await tick(stage, 20)
        path.mkdir()
        await tick(stage, 30)
        path.rmdir()
        os.mkfifo(path)
        await tick(stage, 40)
        assert records(await stage.ask("a.example.org")) == ["3600 192.0.2.1"]
        path.unlink()
        path.write_text("192.0.2.2 a.example.org\n")
        await tick(stage, 50)
        assert records(await stage.ask("a.example.org")) == ["3600 192.0.2.2"]
        path.unlink()
        await tick(stage, 60)

    asyncio.run(run())
    assert capfd.readouterr().out.count("hosts.failed") == 2


def test_a_file_that_comes_later(tmp_path):
    """A file that is missing at start is an empty one; the Corefile's lines are there."""
    path = tmp_path / "hosts"

    async def run():
        stage = Stage(corefile(path))
        assert stage.routes.local.counts.hosts_entries == {str(path): 2}
        assert (await stage.ask("a.example.org")).wire is None
        assert records(await stage.ask("z.example.org")) == ["3600 192.0.2.9"]
        path.write_bytes(b"192.0.2.1 a.example.org \xff\xfe\r\n")
        await tick(stage, 10)
        assert records(await stage.ask("a.example.org")) == ["3600 192.0.2.1"]

    asyncio.run(run())


# ---- CNAMEs


CNAME = record(OWNER, 5, 1, 30, b"\3web\7example\3org\0")
WEB = "web.example.org. 60 IN A 192.0.2.80"


class Server:
    """Our own server as the plugins see it: says what the test wrote, or nothing."""

    def __init__(self, stage, *lines, rcode=0, is_silent=False):
        self.stage, self.lines, self.rcode, self.is_silent = stage, lines, rcode, is_silent
        self.asked = []
        stage.routes.local.ask = self

    def __call__(self, query, listener, done):
        asked = dns.message.from_wire(query)
        self.asked.append((asked.question[0].to_text(), listener))
        reply = dns.message.make_response(asked)
        reply.set_rcode(self.rcode)
        reply.answer = [dns.rrset.from_text(*line.split(maxsplit=4)) for line in self.lines]
        if not self.is_silent:
            self.stage.loop.call_soon(done, reply.to_wire())


def say(monkeypatch, said):
    """Let the plugin say this to everything."""
    monkeypatch.setattr(local.Hosts, "answer", lambda *_: said)


def test_cnames_are_followed(monkeypatch):
    """The target's records come behind the CNAME; the server is asked at the listener of the question."""
    say(monkeypatch, Answer([CNAME], is_followed=True))

    async def run():
        stage = Stage(f". {{\n{INLINE}}}")
        server = Server(stage, WEB)
        outcome = await stage.ask("a.example.org")
        assert records(outcome) == ["30 web.example.org.", "60 192.0.2.80"]
        assert isinstance(outcome, Local)
        assert outcome.is_kept
        assert server.asked == [("web.example.org. IN A", 0)]

    asyncio.run(run())


@pytest.mark.parametrize(
    "name, ways", [("a.example.org", {"rcode": 2}), ("web.example.org", {}), ("a.example.org", {"is_silent": True})]
)
def test_cnames_without_an_answer(monkeypatch, name, ways):
    """A target that fails, stays silent or is the question itself leaves the CNAME alone, which is not kept."""
    say(monkeypatch, Answer([CNAME], is_followed=True))
    monkeypatch.setattr(local, "FOLLOW_S", 0.01)

    async def run():
        stage = Stage(f". {{\n{INLINE}}}")
        Server(stage, **ways)
        outcome = await stage.ask(name)
        assert records(outcome) == ["30 web.example.org."]
        assert isinstance(outcome, Local)
        assert not outcome.is_kept

    asyncio.run(run())


def test_cnames_in_a_circle(monkeypatch):
    """Two names that lead to each other wait for each other only once."""
    back = record(OWNER, 5, 1, 30, b"\1a\7example\3org\0")
    monkeypatch.setattr(
        local.Hosts,
        "answer",
        lambda _self, question, _server: Answer([back if question.name[0] == "w" else CNAME], is_followed=True),
    )

    async def run():
        stage = Stage(f". {{\n{INLINE}}}")

        def ask(query, _listener, done):
            name = dns.message.from_wire(query).question[0].name.to_text()
            task = stage.loop.create_task(stage.ask(name))
            task.add_done_callback(lambda task: done(task.result().wire))

        stage.routes.local.ask = ask
        outcome = await asyncio.wait_for(stage.ask("a.example.org"), 2)
        assert records(outcome) == ["30 web.example.org.", "30 a.example.org."]

    asyncio.run(run())


def test_cnames_that_are_not_to_be_followed(monkeypatch):
    """Refusals and answers without CNAME ask nobody."""

    async def run():
        stage = Stage(f". {{\n{INLINE}}}")
        server = Server(stage, WEB)
        for said in (Answer([CNAME]), Answer([], is_followed=True), Refusal("why")):
            say(monkeypatch, said)
            await stage.ask("a.example.org")
        assert server.asked == []

    asyncio.run(run())


def test_a_fault_while_following(monkeypatch, capfd):
    """An exception there costs the query only, too."""
    say(monkeypatch, Answer([CNAME], is_followed=True))

    async def run():
        stage = Stage(f". {{\n{INLINE}}}")
        Server(stage, WEB)
        monkeypatch.setattr("shardns.dns.answer.records_of", lambda _: 1 // 0)
        assert (await stage.ask("a.example.org")).wire is None

    asyncio.run(run())
    assert "Recovered from panic" in capfd.readouterr().out


def test_order():
    """Plugins are asked in the order of the one list."""
    assert set(chain._HANDLERS) >= chain._LOCAL
