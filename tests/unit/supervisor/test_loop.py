"""The supervisor with real processes that play the roles (see stage.py)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardns.plugins import reload
from supervisor import loop
from supervisor.options import Options
from tests.unit.supervisor.stage import PATIENCE_S, free_port, theatre

pytestmark = pytest.mark.slow

SERVED = "example.org {\n bind 127.0.0.1\n forward . 192.0.2.1\n}\n"


@pytest.fixture
def options(tmp_path: Path) -> Iterator[Options]:
    """Two workers on a free port, with a Corefile that can be changed."""
    conf = tmp_path / "Corefile"
    conf.write_text(SERVED)
    port = free_port()
    yield Options(
        workers=2,
        conf=str(conf),
        dns_port=port,
        cache_size_bytes=4 * 1024 * 1024,
        shm_name=f"shardns-test-{os.getpid()}-{port}",
        pid_file=str(tmp_path / "pid"),
    )
    Path("/dev/shm", f"shardns-test-{os.getpid()}-{port}").unlink(missing_ok=True)


def is_alive(pid: object) -> bool:
    """Whether there is such a process, and not only its remains."""
    assert isinstance(pid, int)
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it went before, or while we read
        return False


def replace(path: str, text: str) -> None:
    """Change a file at once, as kubelet does: whoever reads it meanwhile sees the old text or the new."""
    new = Path(f"{path}.new")
    new.write_text(text)
    new.rename(path)


def until_gone(pid: object) -> None:
    """Wait for the end of a process that is not our child."""
    deadline = time.monotonic() + PATIENCE_S
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def test_every_worker_serves_its_own_socket(options):
    """Two workers answer on one address, each behind a socket of its own."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        first, second = stage.ask(seat=0), stage.ask(seat=1)
        assert first["pid"] != second["pid"]
        assert Path(options.pid_file).read_text() == f"{stage.pid}\n"


def test_sigterm_ends_with_0_and_leaves_the_table(options):
    """SIGTERM: the children finish, the exit code is 0, the pid file is gone; the table stays for a warm start."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        pids = [stage.ask(seat=seat)["pid"] for seat in (0, 1)]
        stage.signal(signal.SIGTERM)
        assert stage.wait() == 0
        assert not any(is_alive(pid) for pid in pids)
        assert not Path(options.pid_file).exists()
    with theatre(options) as stage:
        assert stage.until("segment.adopted")["name"] == options.shm_name


def test_lameduck_serves_on(options):
    """During lameduck queries are still answered; the end comes after it, and exit code 0."""
    Path(options.conf).write_text(
        SERVED.replace("forward", f"health 127.0.0.1:{free_port()} {{\n lameduck 1s\n}}\n forward")
    )
    with theatre(options) as stage:
        stage.until("generation.serving")
        began = time.monotonic()
        stage.signal(signal.SIGTERM)
        stage.until("lameduck.entered")
        assert stage.ask(seat=0)
        assert stage.wait() == 0
        assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize(
    "signals, code",
    [([signal.SIGINT], 0), ([signal.SIGINT, signal.SIGINT], 2), ([signal.SIGQUIT], 0)],
)
def test_exit_codes_of_signals(options, signals, code):
    """SIGINT ends with 0, a second one at once with 2, SIGQUIT at once with 0 (lameduck is a minute here)."""
    lameduck_s = 60 if len(signals) > 1 or signals == [signal.SIGQUIT] else 0
    text = SERVED.replace("forward", f"health 127.0.0.1:{free_port()} {{\n lameduck {lameduck_s}s\n}}\n forward")
    Path(options.conf).write_text(text)
    with theatre(options) as stage:
        stage.until("generation.serving")
        for times, number in enumerate(signals, 1):
            stage.signal(number)
            stage.until("signal.received", times)
        assert stage.wait() == code
        assert not [event for event in stage.events if event["event"] == "child.exited"], "nobody ended unasked"


def test_sighup_is_ignored(options):
    """SIGHUP changes nothing."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        before = stage.ask(seat=0)["pid"]
        stage.signal(signal.SIGHUP)
        stage.signal(signal.SIGUSR1)
        stage.until("plan.unchanged")
        assert stage.ask(seat=0)["pid"] == before


def test_killed_worker_is_replaced_and_loses_no_query(options):
    """A query that waits in the socket of a killed worker is answered by the next one."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        victim = stage.ask(seat=0)["pid"]
        assert isinstance(victim, int)
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(("127.0.0.1", options.dns_port))
            seat = None
            while seat != 0:  # a port that the kernel maps to worker 0
                client.close()
                client = socket.socket(type=socket.SOCK_DGRAM)  # noqa: PLW2901
                client.settimeout(PATIENCE_S)
                client.connect(("127.0.0.1", options.dns_port))
                client.send(b"")
                seat = json.loads(client.recv(4096))["seat"]
            os.kill(victim, signal.SIGSTOP)
            client.send(b"")
            os.kill(victim, signal.SIGKILL)
            answer = json.loads(client.recv(4096))
            client.close()
        assert answer["seat"] == 0
        assert answer["pid"] != victim
        assert stage.until("child.exited")["signal"] == "SIGKILL"


def test_stuck_worker_is_replaced(options):
    """A worker that is alive and has no heartbeat is ended, and another answers from its socket."""
    with theatre(dataclasses.replace(options, heartbeat_timeout_s=2.0)) as stage:
        stage.until("generation.serving")
        victim = stage.ask(seat=1)["pid"]
        stage.ask("hang", seat=1)
        stage.until("child.stuck", slot=1)
        until_gone(victim)
        assert stage.ask(seat=1)["pid"] != victim


def test_reload_replaces_every_process(options):
    """SIGUSR1 after a change: other processes serve the new Plan on the same sockets, and the old ones end."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        old = [stage.ask(seat=seat)["pid"] for seat in (0, 1)]
        Path(options.conf).write_text(SERVED + SERVED.replace("example.org", "example.com"))
        stage.signal(signal.SIGUSR1)
        stage.until("reload.finished", generation=1)
        stage.until("generation.drained", generation=0)
        new = [stage.ask(seat=seat, generation=1)["pid"] for seat in (0, 1)]
        assert not set(old) & set(new)
        assert not any(is_alive(pid) for pid in old)


def test_reload_without_a_change_keeps_the_processes(options):
    """SIGUSR1 with the same Corefile, or one with other comments, starts nothing."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        before = stage.ask(seat=0)["pid"]
        Path(options.conf).write_text("# a comment\n" + SERVED)
        stage.signal(signal.SIGUSR1)
        stage.until("plan.unchanged")
        assert stage.ask(seat=0)["pid"] == before


@pytest.mark.parametrize("zone", ["boot-fails.", "never-ready.", "dies.", "dies-late."])
def test_reload_that_fails_keeps_the_old_children(options, zone):
    """When new children do not come up, for whatever reason, the old workers go on with nothing noticed."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        before = {seat: stage.ask(seat=seat)["pid"] for seat in (0, 1)}
        Path(options.conf).write_text(SERVED + SERVED.replace("example.org", zone))
        stage.signal(signal.SIGUSR1)
        stage.until("reload.failed")
        assert {seat: stage.ask(seat=seat)["pid"] for seat in (0, 1)} == before
        to_blame = {"boot-fails.": 1, "never-ready.": 0, "dies.": 1, "dies-late.": 1}[zone]
        assert len([event for event in stage.events if event["event"] == "child.exited"]) == to_blame
        Path(options.conf).write_text(SERVED + SERVED.replace("example.org", "example.net"))
        stage.signal(signal.SIGUSR1)
        stage.until("reload.finished")


def test_reload_with_errors_keeps_the_old_plan(options):
    """Errors of a changed Corefile are logged with their places, and nothing else happens."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        before = stage.ask(seat=0)["pid"]
        Path(options.conf).write_text("example.org {\n nonsense\n}\n")
        stage.signal(signal.SIGUSR1)
        assert ":2:" in str(stage.until("plan.refused")["error"])
        stage.until("reload.failed")
        assert stage.ask(seat=0)["pid"] == before


def test_polled_corefile_that_stays_wrong_is_refused_once(options, monkeypatch):
    """The reload plugin reads the file now and then; the same errors are logged and counted once."""
    monkeypatch.setattr(reload, "MIN_INTERVAL_S", 0.1)
    monkeypatch.setattr(reload, "MIN_JITTER_S", 0.1)
    text = SERVED.replace("forward", "reload 100ms 100ms\n forward")
    Path(options.conf).write_text(text)
    with theatre(options) as stage:
        stage.until("generation.serving")
        replace(options.conf, "nonsense {")
        stage.until("reload.failed")
        time.sleep(0.5)  # three more polls at least
        replace(options.conf, text + SERVED.replace("example.org", "example.com"))
        stage.until("reload.finished")
        assert [event["event"] for event in stage.events].count("reload.failed") == 1


def test_warnings_are_logged(options):
    """What is legal and strange is said at the start and when a reload brings it."""
    text = SERVED.replace("forward . 192.0.2.1", "cache 30")
    Path(options.conf).write_text(text)
    with theatre(options) as stage:
        assert ":1:1:" in str(stage.until("config.warned")["warning"])
        stage.until("generation.serving")
        Path(options.conf).write_text(text + text.replace("example.org", "example.com"))
        stage.signal(signal.SIGUSR1)
        assert ":5:1:" in str(stage.until("config.warned", 3)["warning"])


def test_orphans_are_buried(options):
    """As PID 1 the supervisor is given the children of processes that ended; it buries them and says nothing."""
    with theatre(options, is_init=True) as stage:
        stage.until("generation.serving")
        orphan = stage.ask("orphan", seat=0)["orphan"]
        until_gone(orphan)
        deadline = time.monotonic() + PATIENCE_S
        while Path(f"/proc/{orphan}").exists():
            assert time.monotonic() < deadline, "a zombie is left"
            time.sleep(0.01)
        assert not [event for event in stage.events if event["event"] == "child.exited"]


def test_removed_listener_is_closed_after_a_reload(options):
    """An address that the new Plan does not have is given back; no child holds it open."""
    other = free_port()
    Path(options.conf).write_text(SERVED + SERVED.replace("example.org", f"example.com:{other}"))
    with theatre(options) as stage:
        stage.until("generation.serving")
        Path(options.conf).write_text(SERVED)
        stage.signal(signal.SIGUSR1)
        stage.until("listener.closed", address=f"127.0.0.1:{other}")
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", other))
            tcp.bind(("127.0.0.1", other))


def test_crash_during_a_reload_is_survived(options):
    """A worker that is killed while new children load is replaced, and the reload comes to its end."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        victim = stage.ask(seat=0)["pid"]
        assert isinstance(victim, int)
        Path(options.conf).write_text(SERVED + SERVED.replace("example.org", "example.com"))
        stage.signal(signal.SIGUSR1)
        os.kill(victim, signal.SIGKILL)
        stage.until("generation.drained", generation=0)
        assert stage.ask(seat=0, generation=1)


def test_children_do_not_outlive_a_killed_supervisor(options):
    """SIGKILL of the supervisor takes its children along, and the next start works and finds the table."""
    with theatre(options) as stage:
        stage.until("segment.created", name=options.shm_name)
        stage.until("generation.serving")
        pids = [stage.ask(seat=seat)["pid"] for seat in (0, 1)]
        stage.ask("hang", seat=1)  # this one does not notice that its control socket is closed
        stage.signal(signal.SIGKILL)
        assert stage.wait() == -signal.SIGKILL
        for pid in pids:
            until_gone(pid)
    with theatre(options) as stage:
        stage.until("segment.adopted", name=options.shm_name)
        stage.until("generation.serving")
        assert stage.ask(seat=0)


def test_could_not_boot_stops_the_start(options):
    """A child that cannot start ends the first start with exit code 1, its error and a reason."""
    Path(options.conf).write_text(SERVED.replace("example.org", "boot-fails."))
    with theatre(options) as stage:
        assert stage.wait() == 1
        assert "as the test wants it" in str(stage.until("child.failed")["exception"])
        assert stage.until("supervisor.failed")["reason"] == "worker 0 exited with code 3 and cannot be started"


def test_busy_dns_port_stops_the_start(options):
    """A DNS port that another program holds is a clear error with address and remedy, exit code 1."""
    with socket.socket(type=socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", options.dns_port))
        with theatre(options) as stage:
            assert stage.wait() == 1
            error = str(stage.until("plan.refused")["error"])
    assert error.startswith(f"cannot listen on 127.0.0.1:{options.dns_port}: Address already in use")
    assert "ss -lunpt" in error


def test_every_busy_http_port_is_told_once(options, monkeypatch):
    """A port that is busy after a reload is told also where another is being waited for; neither is told twice, however
    often both are tried while the reload lasts.
    """
    monkeypatch.setattr(loop, "PLACE_RETRY_S", 0.1)
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    first, second = (f"127.0.0.1:{holder.getsockname()[1]}" for holder in holders)
    with contextlib.ExitStack() as stack:
        for holder in holders:
            stack.enter_context(holder)
        Path(options.conf).write_text(SERVED.replace("forward", f"health {first}\n forward"))
        stage = stack.enter_context(theatre(options))
        stage.until("listener.failed", address=first)
        stage.until("generation.serving")
        text = SERVED.replace("example.org", "slow")
        text = text.replace("forward", f"health {first}\n prometheus {second}\n forward")
        Path(options.conf).write_text(text)
        stage.signal(signal.SIGUSR1)
        stage.until("listener.failed", address=second)
        stage.until("generation.drained")
        told = [event["address"] for event in stage.events if event["event"] == "listener.failed"]
        assert told == [first, second]


def test_busy_http_port_costs_no_dns(options, monkeypatch):
    """A metrics port that is busy is a warning; DNS is served, and the page comes when the port is free."""
    monkeypatch.setattr(loop, "PLACE_RETRY_S", 0.2)
    port = free_port()
    Path(options.conf).write_text(SERVED.replace("forward", f"prometheus 127.0.0.1:{port}\n forward"))
    holder = socket.create_server(("127.0.0.1", port))
    with theatre(options) as stage:
        assert stage.until("listener.failed")["address"] == f"127.0.0.1:{port}"
        stage.until("generation.serving")
        assert stage.ask(seat=0)
        holder.close()
        stage.until("listener.opened", address=f"127.0.0.1:{port}")
        with socket.create_connection(("127.0.0.1", port)) as client:
            counts = json.loads(client.makefile().read())
        assert counts["HTTP_BUSY"] == 0


def test_tally_counts_what_the_supervisor_did(options):
    """Restarts and failed reloads can be read by the upstream process."""
    port = free_port()
    Path(options.conf).write_text(text := SERVED.replace("forward", f"prometheus 127.0.0.1:{port}\n forward"))
    with theatre(options) as stage:
        stage.until("generation.serving")
        stage.ask("exit 7", seat=0)
        assert stage.until("child.exited", role="worker")["code"] == 7
        stage.ask(seat=0)
        Path(options.conf).write_text("nonsense {")
        stage.signal(signal.SIGUSR1)
        stage.until("reload.failed")
        Path(options.conf).write_text(text + SERVED.replace("example.org", "example.com"))
        stage.signal(signal.SIGUSR1)
        stage.until("reload.finished")
        with socket.create_connection(("127.0.0.1", port)) as client:
            counts = json.loads(client.makefile().read())
    assert counts == {
        "RELOADS": 1,
        "RELOAD_FAILED": 1,
        "WORKER_RESTARTS": 1,
        "UPSTREAM_RESTARTS": 0,
        "STUCK": 0,
        "HTTP_BUSY": 0,
        "SETUP_IPTABLES": 0,
        "SETUP_IPTABLES_LOCK": 0,
        "SETUP_INTERFACE_ADD": 0,
        "SETUP_INTERFACE_CHECK": 0,
        "SETUP_CONFIGMAP": 0,
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")
def test_privileges_are_gone(options):
    """A child of root is 65534 without groups and capabilities, bounding set included, and cannot gain any."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        text = str(stage.ask("status", seat=0)["status"])
    status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["65534"] * 4
    assert status["Gid"].split() == ["65534"] * 4
    assert status["Groups"].split() == []
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"


def test_worker_holds_only_what_is_its_own(options):
    """A worker has no writable descriptor of the table or of another slot, and no other worker's sockets."""
    with theatre(options) as stage:
        stage.until("generation.serving")
        fds = stage.ask("fds", seat=1)["fds"]
        assert isinstance(fds, list)
        writable = [name for name in fds if options.shm_name in name]
        assert len(writable) == 1  # the read-only one
        assert sum("socket:" in name for name in fds) == 4  # UDP, TCP, misses, control


def test_a_changed_template_is_taken(options, tmp_path):
    """Without the reload plugin and without a signal, in time; what is wrong is said once, and when asked."""
    base = tmp_path / "Corefile.base"
    base.write_text(SERVED)
    with theatre(dataclasses.replace(options, base_corefile=str(base), watch_s=0.1)) as stage:
        stage.until("generation.serving")
        replace(str(base), SERVED.replace("192.0.2.1", "192.0.2.3"))
        assert stage.until("reload.started")["by"] == loop.WATCH
        stage.until("generation.drained")
        for text in ("nonsense {", "nonsense {", "nonsense {\n"):
            replace(str(base), text)
            time.sleep(0.2)
        stage.until("plan.refused")
        stage.signal(signal.SIGUSR1)
        stage.until("plan.refused", times=2)
        stage.signal(signal.SIGTERM)
        assert stage.wait() == 0
    assert len([event for event in stage.events if event["event"] == "plan.refused"]) == 2


def test_a_wrong_configmap_is_counted(options, tmp_path):
    """The tally has it, for the metrics page."""
    base, where = tmp_path / "Corefile.base", tmp_path / "kube-dns"
    address = free_port()
    base.write_text(SERVED.replace("forward", f"health 127.0.0.1:{address}\n forward"))
    where.mkdir()
    (where / "stubDomains").write_text("{")
    with theatre(dataclasses.replace(options, base_corefile=str(base), kube_dns=str(where))) as stage:
        stage.until("generation.serving")
        with socket.create_connection(("127.0.0.1", address), timeout=PATIENCE_S) as client:
            assert json.loads(client.recv(65536))["SETUP_CONFIGMAP"] == 1
