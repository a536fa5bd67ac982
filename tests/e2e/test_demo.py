"""`shardns demo`, which `make run` starts, on a terminal."""

import contextlib
import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time

import pytest

from tests.e2e import shardns as program
from tests.peers import ports
from tests.peers.client import ask
from tests.peers.dig import dig
from tests.peers.process import session, wait_until


class Terminal:
    """A program on a pseudo terminal of its own, and what it has shown."""

    def __init__(self, command: list[str]) -> None:
        """Start it; it controls the terminal, so that Ctrl-C reaches it as it would from a keyboard."""
        self._master, slave = pty.openpty()
        self.child = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - after setsid, before exec
        )
        os.close(slave)
        self.text = ""

    def type(self, text: str) -> None:
        """Nothing; the keys are pressed."""
        os.write(self._master, text.encode())

    def wait_for(self, pattern: str, within_s: float = 20) -> re.Match[str]:
        """The first match in what is shown. Raises TimeoutError with all of it."""
        until = time.monotonic() + within_s
        while (found := re.search(pattern, self.text)) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"{pattern} is not in:\n{self.text}")
            self.read(0.1)
        return found

    def read(self, wait_s: float) -> None:
        """Nothing; what has come is in text."""
        if select.select([self._master], [], [], wait_s)[0]:
            with contextlib.suppress(OSError):  # EIO once the program has closed its side
                self.text += os.read(self._master, 65536).decode(errors="replace")

    def end(self) -> int:
        """The exit code; what was shown until then is in text."""
        until = time.monotonic() + 15
        while self.child.poll() is None and time.monotonic() < until:
            self.read(0.05)
        self.read(0)
        return self.child.wait(1)

    def close(self) -> None:
        """Nothing; whatever still runs is killed."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, 9)
        self.child.wait(5)
        os.close(self._master)


@pytest.fixture
def terminal():
    """The demo on a free port."""
    with ports.reserved() as port, contextlib.closing(Terminal([program.PROGRAM, "demo", "-p", str(port)])) as made:
        yield made, port


def test_demo(terminal):
    """It says what to type next, and that works; a live line is shown; Ctrl-C ends it with code 0, nothing is left."""
    made, port = terminal
    before = {path.name for path in program.SHM.iterdir()}
    for command in made.wait_for(r"(?s)In another terminal:(.*)Ctrl-C ends it")[1].splitlines():
        words = command.split("#")[0].split()
        if words[:1] == ["dig"]:
            assert dig(*words[4:], port=int(words[3])).status in ("NOERROR", "NXDOMAIN")
        elif words[:1] == ["curl"]:
            done = subprocess.run(words[:3], capture_output=True, text=True, check=True, timeout=10)
            assert done.stdout
    assert f"-p {port} " in made.text
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        ask("web.default.svc.cluster.local", port=port)
        made.read(0)
    found = made.wait_for(r"(\d+) queries/s   hit ratio +([\d.]+) %   +(\d+) upstream queries/s")
    assert float(found[2]) <= 100
    pids = _descendants(made.child.pid)
    assert len(pids) >= 5
    made.type("\x03")
    assert made.end() == 0
    assert "Traceback" not in made.text
    wait_until(lambda: not any(map(program.command_line, pids)), within_s=3, what="every process to end")
    assert not session(made.child.pid)
    left = {path.name for path in program.SHM.iterdir()} - before
    assert not {name for name in left if str(port) in name or name == "none"}


def _descendants(pid):
    """The processes below pid."""
    own = program.children(pid)
    return own + [below for child in own for below in _descendants(child)]


def test_demo_without_a_terminal(tmp_path):
    """Without a terminal it shows no live line and moves no cursor; SIGTERM ends it with code 0."""
    with ports.reserved() as port, (tmp_path / "out").open("w+") as out:
        child = subprocess.Popen([program.PROGRAM, "demo", "-p", str(port)], stdout=out, stderr=out)
        try:
            wait_until(lambda: "Ctrl-C ends it" in (tmp_path / "out").read_text(), within_s=20, what="the demo")
            time.sleep(1.2)
            child.terminate()
            assert child.wait(10) == 0
        finally:
            child.kill()
            child.wait(5)
        text = (tmp_path / "out").read_text()
        assert "\x1b" not in text
        assert "upstream queries/s" not in text
