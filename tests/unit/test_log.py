import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import pytest

from shardns import log

PLAIN = '[INFO] 192.0.2.7:4431 - 61744 "A IN example.org. udp 56 false 512" NOERROR qr,rd,ra 89 0.000401617s'


@pytest.fixture(autouse=True)
def clean_logging():
    """Each test leaves the logging of the process as it was."""
    yield
    log.identify()
    log.configure("json", "info")
    log._state.update(lost=0, torn=0, stuck=0, socket=0)


@contextmanager
def stdout_as(fd):
    """Standard output is fd inside, itself again after."""
    saved = os.dup(1)
    os.dup2(fd, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def written(act):
    """What act writes to a standard output that is a pipe."""
    reader, writer = os.pipe()
    with stdout_as(writer):
        act()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read().decode()


def test_json_line():
    """Off a terminal an event is one JSON object on one line: time, level, event, then the facts."""

    def act():
        log.configure("auto", "info")
        log.get_logger().error("child.exited", role="worker", slot=2, lived_s=41.2, reason='said "no"\nand went')

    text = written(act)
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    event = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event.pop("time"))
    assert event == {
        "level": "error",
        "event": "child.exited",
        "role": "worker",
        "slot": 2,
        "lived_s": 41.2,
        "reason": 'said "no"\nand went',
    }


def test_text_line():
    """Text is time, level, event, key=value; what does not read as one word is quoted; a pipe gets no colours."""

    def act():
        log.configure("text", "info")
        log.get_logger().warning("setup.failed", slot=2, why="no such device", path="", line="a\nb", lived_s=1 / 3)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} warning setup\.failed slot=2"
        r' why="no such device" path="" line="a\\nb" lived_s=0\.333333\n',
        written(act),
    )


@pytest.mark.parametrize("no_color", [False, True])
def test_auto_on_a_terminal_is_text(monkeypatch, no_color):
    """A terminal gets text, in colours unless NO_COLOR is set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    reader, terminal = pty.openpty()
    with stdout_as(terminal):
        log.configure("auto", "info")
        log.get_logger().info("reload.finished", blocks=4)
    text = os.read(reader, 4096).decode()
    os.close(terminal)
    os.close(reader)
    assert ("\x1b[" in text) is not no_color
    assert "reload.finished" in text
    assert "blocks=4" in text


@pytest.mark.parametrize("level, wanted", [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level(level, wanted):
    """Events below the level are not written."""

    def act():
        log.configure("json", level)
        logger = log.get_logger()
        logger.debug("reload.finished")
        logger.info("reload.finished")
        logger.warning("reload.finished")
        logger.error("reload.finished")

    assert written(act).count("\n") == wanted


def test_logger_made_before_configure_follows_it():
    """A module's logger, made at import, writes in the format that is configured later."""
    logger = log.get_logger()

    def act():
        log.configure("json", "error")
        logger.info("reload.finished")
        logger.error("plan.refused")

    assert json.loads(written(act))["event"] == "plan.refused"


def test_identity_is_on_every_line():
    """What identify was given comes before an event's own facts, until it is called again."""

    def act():
        log.configure("json")
        log.identify(role="worker", slot=1)
        log.get_logger().info("worker.stopped", sockets=2)
        log.identify(role="upstream")
        log.get_logger().info("table.recovered")

    first, second = (json.loads(line) for line in written(act).splitlines())
    assert [*first][2:] == ["event", "role", "slot", "sockets"]
    assert (second["role"], "slot" in second) == ("upstream", False)


def test_traceback():
    """exception() is an error with its traceback: in JSON as a field, in text on lines of its own."""

    def act():
        for form in ("json", "text"):
            log.configure(form)
            try:
                int("broken")
            except ValueError:
                log.get_logger().exception("supervisor.failed")

    first, rest = written(act).split("\n", 1)
    assert json.loads(first)["level"] == "error"
    assert json.loads(first)["exception"].endswith("int() with base 10: 'broken'")
    assert rest.endswith("int() with base 10: 'broken'\n")


@pytest.mark.parametrize("form", ["json", "text"])
def test_plain_lines_are_the_same_in_every_format(form):
    """CoreDNS's lines stay CoreDNS's lines."""

    def act():
        log.configure(form, "error")
        log.line(PLAIN)

    assert written(act) == PLAIN + "\n"


def test_plain_line_stays_one_line():
    """Control characters are escaped, so that a peer's words cannot forge a line or steer a terminal."""
    assert (
        written(lambda: log.line("[INFO] a\n[ERROR] b\x1b[31m \udc80 é")) == "[INFO] a\\n[ERROR] b\\x1b[31m \\udc80 é\n"
    )


def test_lines_are_written_in_wholes_that_a_pipe_keeps_together(monkeypatch):
    """Many lines take few writes, each of whole lines and at most 4096 bytes; a longer line has a write of its own."""
    writes: list[bytes] = []
    monkeypatch.setattr(log, "write", writes.append)
    texts = [f"{n} " + "x" * 100 for n in range(100)] + ["y" * 5000, "z"]
    log.lines(texts)
    assert b"".join(writes).decode().splitlines() == texts
    assert all(data.endswith(b"\n") for data in writes)
    assert [len(data) for data in writes if len(data) > 4096] == [5001]
    assert len(writes) == 5


def test_a_closed_standard_output_raises_nothing():
    """A line that cannot be written is counted and forgotten."""
    reader, writer = os.pipe()
    os.close(reader)
    with stdout_as(writer):
        log.line(PLAIN)
        log.get_logger().error("child.exited")
    os.close(writer)
    assert log.lost() == 2


def test_a_full_standard_output_costs_lines_not_time(monkeypatch):
    """A reader that takes nothing makes lines be dropped; the line that was cut is ended before the next one."""
    monkeypatch.setattr(log, "_WAIT_MS", 1)
    reader, writer = os.pipe()
    with stdout_as(writer):
        log.never_block()
        log.write(b"x" * 100_000 + b"\n")
        assert log.lost() == 1
        monkeypatch.setattr(log, "_WAIT_MS", 30_000)
        log.line("dropped at once")
        assert log.lost() == 2
        kept = os.read(reader, 1 << 20)
        log.line("whole")
    os.close(writer)
    assert kept == b"x" * len(kept)
    assert os.read(reader, 100) == b"\nwhole\n"
    os.close(reader)


def test_a_full_socket_costs_lines_not_time(monkeypatch):
    """Standard output is a socket under systemd; one that nobody reads blocks nobody, and goes on blocking others."""
    monkeypatch.setattr(log, "_WAIT_MS", 1)
    reader, writer = socket.socketpair()
    with reader, writer:
        with stdout_as(writer.fileno()):
            log.never_block()
            log.write(b"x" * 10_000_000 + b"\n")
            log.line("dropped at once")
            assert log.lost() == 2
            reader.setblocking(False)
            with suppress(BlockingIOError):
                while reader.recv(1 << 20):
                    pass
            log.line("whole")
        assert reader.recv(100) == b"\nwhole\n"
        assert os.get_blocking(writer.fileno()) is True


def test_never_block_leaves_the_pipe_of_others_alone():
    """Others who hold the same pipe go on blocking."""
    reader, writer = os.pipe()
    with stdout_as(writer):
        log.never_block()
        assert os.get_blocking(1) is False
        assert os.get_blocking(writer) is True
        log.line("here")
    os.close(writer)
    assert os.read(reader, 100) == b"here\n"
    os.close(reader)


def test_never_block_leaves_files_alone(tmp_path):
    """A file is written on from where it was."""
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with stdout_as(fd):
        log.line("one")
        log.never_block()
        log.line("two")
    os.close(fd)
    assert path.read_text() == "one\ntwo\n"


@pytest.mark.filterwarnings("ignore:This process")
def test_a_fork_in_the_middle_of_logging_does_not_hang():
    """A child forked while another thread logs can log itself at once: there is no lock to inherit."""

    def act():
        log.configure("json")
        logger = log.get_logger()
        stop = threading.Event()

        def chatter():
            for _ in range(200):
                logger.info("reload.finished")
            stop.wait()

        thread = threading.Thread(target=chatter)
        thread.start()
        try:
            pid = os.fork()
            if pid == 0:
                logger.info("worker.stopped")
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        finally:
            stop.set()
            thread.join()

    events = [json.loads(line)["event"] for line in written(act).splitlines()]
    assert sorted(events) == ["reload.finished"] * 200 + ["worker.stopped"]


def test_rich_stays_out():
    """A process that logs does not load rich, which costs megabytes, though structlog would; others may."""
    code = "import sys, shardns.log; print('rich' in sys.modules or any(n.startswith('rich.') for n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
