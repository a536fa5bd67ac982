"""The processes: who they are, what they may, and what becomes of the rest when one ends."""

import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from tests.e2e import shardns as program
from tests.peers import fake, wire
from tests.peers.client import ask
from tests.peers.process import session, wait_until

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root's children become another user")


@pytest.fixture
def made(launch):
    """A shardns in front of the fake."""
    with fake.nameserver() as server:
        made = launch(upstream=f"127.0.0.1:{server.port}", flags=("-heartbeat-timeout", "2s"))
        yield made
        if not made.ended:
            made.stop()


def test_titles(made):
    """ps tells each process apart; there are no others."""
    pids = made.pids()
    assert sorted(pids) == ["supervisor", "upstream", "worker 0", "worker 1"]
    assert sorted(session(made.process.pid)) == sorted(pids.values())
    assert made.pid_file.read_text().strip() == str(made.process.pid)


@root_only
def test_privileges(made):
    """Workers and the upstream process are nobody, have no capability and can gain none; the supervisor stays root."""
    pids = made.pids()
    for role in ("upstream", "worker 0", "worker 1"):
        status = program.status(pids[role])
        assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"65534"}
        assert status["Groups"] == ""
        assert {status[f"Cap{which}"].strip("0") for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {""}
        assert status["NoNewPrivs"] == "1"
    assert program.status(pids["supervisor"])["Uid"].split()[0] == "0"


@root_only
def test_user(launch):
    """-user chooses who the children are."""
    made = launch(flags=("-user", "daemon"))
    assert program.status(made.pids()["upstream"])["Uid"].split()[0] == "1"


def test_memory_is_private(made):
    """The table in /dev/shm is readable by its owner alone, and is all there is of us."""
    mode = (program.SHM / made.shm_name).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_workers_hold_no_writable_table(made):
    """A worker maps the table read-only, and no other worker's memory writable."""
    for role in ("worker 0", "worker 1"):
        maps = Path(f"/proc/{made.pids()[role]}/maps").read_text().splitlines()
        table = [line.split()[1] for line in maps if f"/dev/shm/{made.shm_name}" in line]
        assert table
        assert all("w" not in rights for rights in table)
        slots = {line.split()[5] for line in maps if "memfd:shardns-slot" in line and " rw-s " in line}
        assert len(slots) == 1


@pytest.mark.parametrize("role", ["worker 0", "worker 1", "upstream"])
def test_killed_child_is_replaced(made, role):
    """A child that is killed is replaced at once; who it was, what ended it and how long it lived is logged."""
    pid = made.pids()[role]
    ask("a.example.org", port=made.port)
    os.kill(pid, signal.SIGKILL)
    for n in range(10):
        assert ask(f"n{n}.example.org", port=made.port, timeout_s=6).answer
    wait_until(lambda: made.pids().get(role, pid) != pid, what=f"another {role}")
    (event,) = made.events("child.exited")
    assert (event["pid"], event["signal"], event["level"]) == (pid, "SIGKILL", "error")
    assert event["role"] == "supervisor" or role.startswith(str(event["role"]))


def test_stuck_worker_is_replaced(made):
    """A worker that is stopped is replaced; the queries that waited for it are answered, by it or by the next one."""
    pid = made.pids()["worker 0"]
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    wait_until(
        lambda: all(") T " in (task / "stat").read_text() for task in tasks.iterdir()), what="every thread to stop"
    )
    queries = [wire.query(f"n{n}.example.org", ident=n) for n in range(20)]
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in queries]
    for sock, query in zip(sockets, queries, strict=True):
        sock.connect(("127.0.0.1", made.port))
        sock.settimeout(12)
        sock.send(query)
    for n, sock in enumerate(sockets):
        with sock:
            assert sock.recv(4096)[:2] == n.to_bytes(2)
    wait_until(lambda: made.pids().get("worker 0", pid) != pid, what="another worker 0")
    (event,) = made.events("child.stuck")
    assert event["stopped"] is True


def test_killed_supervisor_leaves_nobody(made):
    """When the supervisor is killed its children end with it, at once."""
    children = [pid for role, pid in made.pids().items() if role != "supervisor"]
    made.ended = True
    os.kill(made.process.pid, signal.SIGKILL)
    assert made.process.wait(5) == -9
    wait_until(lambda: not any(map(program.command_line, children)), within_s=3, what="the children to end")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals_end_it(made, number):
    """SIGTERM, SIGINT and SIGQUIT end it with code 0, quickly, and nothing is left."""
    began = time.monotonic()
    made.stop(number)
    assert time.monotonic() - began < 5


def test_ignored_signals(made):
    """SIGHUP and SIGUSR2 end nothing, in no process; a child ignores what a terminal sends to the group."""
    pids = made.pids()
    for number in (signal.SIGHUP, signal.SIGUSR2):
        for pid in pids.values():
            os.kill(pid, number)
    for role, pid in pids.items():
        if role != "supervisor":
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
    assert ask("a.example.org", port=made.port).answer
    assert made.pids() == pids


def test_stops_while_queries_are_under_way(launch):
    """An ordinary end answers what is under way first."""
    with fake.nameserver(delay_s=0.5) as server:
        made = launch(upstream=f"127.0.0.1:{server.port}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", made.port))
            sock.settimeout(5)
            sock.send(wire.query("a.example.org"))
            time.sleep(0.1)
            made.stop()
            assert sock.recv(4096).endswith(fake.address_of(wire.name("a.example.org")))


def test_misses_survive_the_upstream_process(launch):
    """What clients wait for when the upstream process is killed is answered by the next one, by UDP and TCP alike."""
    with fake.nameserver(delay_s=0.7) as server:
        made = launch(upstream=f"127.0.0.1:{server.port}")
        with wire.stream(made.port) as client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", made.port))
            sock.settimeout(5)
            sock.send(wire.query("udp.example.org"))
            client.send(wire.query("tcp.example.org"))
            wait_until(lambda: server.queries == 2, what="both to be asked upstream")
            os.kill(made.pids()["upstream"], signal.SIGKILL)
            assert client.receive().endswith(fake.address_of(wire.name("tcp.example.org")))
            assert sock.recv(4096).endswith(fake.address_of(wire.name("udp.example.org")))


def test_nothing_leaks(made):
    """Clients that come and go, and asks that end in every way, leave no descriptor open in any process."""

    def descriptors():
        return {role: len(os.listdir(f"/proc/{pid}/fd")) for role, pid in made.pids().items()}  # noqa: PTH208 - numbers

    def use(start):
        for n in range(start, start + 40):
            with wire.stream(made.port) as client:
                client.send(wire.query(f"n{n}.example.org"), wire.query(f"servfail{n}.example.org"))
                client.receive()
            made.http("METRICS", "/metrics" if n % 2 else "/nothing")

    use(0)
    wait_until(lambda: made.scrape().total("shardns_worker_tcp_open") == 0, what="connections to be closed")
    before = descriptors()
    use(40)
    wait_until(lambda: made.scrape().total("shardns_worker_tcp_open") == 0, what="connections to be closed")
    few = 5  # connections to the nameserver come and go
    wait_until(lambda: all(now < before[role] + few for role, now in descriptors().items()), what=f"{before}")


@pytest.mark.parametrize("workers", ["1", "auto"])
def test_numbers_of_workers(launch, workers):
    """--workers takes a number or auto, which is at least one."""
    with fake.nameserver() as server:
        made = launch(upstream=f"127.0.0.1:{server.port}", workers=workers)
        count = sum(role.startswith("worker") for role in made.pids())
        assert count == 1 if workers == "1" else 1 <= count <= (os.cpu_count() or 1)
        assert ask("a.example.org", port=made.port).answer
