"""The command as a whole, as far as it does not serve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import shardns
from supervisor.cli import flags, main, texts
from supervisor.options import Options
from supervisor.sources import CorefileSource


def test_version(capsys):
    """-version names the program, the platform and whose Corefile it reads; exit code 0."""
    assert main(["--version"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"shardns-{shardns.__version__}\nlinux/")
    assert "CoreDNS-1.13.2" in out


def test_plugins(capsys):
    """-plugins lists what can stand in a Corefile, in CoreDNS's form."""
    assert main(["-plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  dns.cache" in lines
    assert lines.index("  dns.cache") < lines.index("  dns.forward")


@pytest.mark.parametrize("word", ["-h", "--help", "help"])
def test_help(word, capsys):
    """Help shows every flag with its default, in lines that fit a terminal."""
    assert main([word]) == 0
    out = capsys.readouterr().out
    for flag in flags.ALL:
        assert f"-{flag.name}" in out
        assert not flag.value or flag.default in out
    assert max(len(line) for line in out.splitlines()) <= 120


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-nonsense"], "flag provided but not defined: -nonsense"),
        (["-localip", "127.0.0.2 "], 'invalid localip specified - "127.0.0.2 "'),
        (["-conf", "x", "more"], "extra command line arguments: [more]"),
        (["-conf", "x", "--user", "nobody-of-that-name"], "no user is called"),
    ],
)
def test_flag_errors(arguments, words, capsys):
    """A command line that is wrong ends with node-cache's line and exit code 1."""
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("[FATAL] Error parsing flags - ")
    assert err.endswith(", Exiting\n")
    assert words in err


def test_missing_corefile(tmp_path):
    """A Corefile that is not there is an error that names it; exit code 1."""
    command = [sys.executable, "-m", "supervisor", "-conf", str(tmp_path / "none"), "-metrics-listen-address="]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "cannot read the Corefile" in done.stdout
    assert "No such file or directory" in done.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed):
    """Started with standard streams closed, no socket of ours takes their place, and printing is no error."""
    code = (
        "import socket, sys\n"
        "from supervisor.cli.main import open_standard\n"
        "open_standard()\n"
        "print('x', flush=True), print('x', file=sys.stderr, flush=True), sys.stdin.read()\n"
        "sys.exit(socket.socket().fileno() < 3)"
    )
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=60).returncode == 0


GOOD = "example.org {\n bind 127.0.0.1\n cache 30\n forward . 192.0.2.1\n}\n"


@pytest.mark.parametrize("arguments", [["{}"], ["-conf", "{}"], ["{}", "-p", "1053"], ["-p", "53", "{}"]])
def test_check_prints_the_plan(arguments, tmp_path: Path, capsys):
    """A good Corefile is shown as it is understood; exit code 0."""
    path = tmp_path / "Corefile"
    path.write_text(GOOD)
    assert main(["check", *(word.replace("{}", str(path)) for word in arguments)]) == 0
    out, err = capsys.readouterr()
    assert "example.org." in out
    assert f"127.0.0.1:{1053 if '1053' in arguments else 53}" in out
    assert err == ""


def test_check_reports_every_error(tmp_path: Path, capsys):
    """All errors at once, each with file, line and column; exit code 1."""
    path = tmp_path / "Corefile"
    path.write_text("example.org {\n reload soon\n nonsense\n}\n")
    assert main(["check", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith(f"{path}:2:")
    assert lines[1].startswith(f"{path}:3:")
    assert lines[2] == "2 errors"


def test_check_shows_warnings(tmp_path: Path, capsys):
    """What is strange and legal is said on standard error; exit code 0."""
    path = tmp_path / "Corefile"
    path.write_text("example.org {\n cache 30\n}\n")
    assert main(["check", str(path)]) == 0
    assert "warning: " in capsys.readouterr().err


def test_check_of_standard_input():
    """stdin is a file, too."""
    command = [sys.executable, "-m", "supervisor", "check", "stdin"]
    done = subprocess.run(command, input=GOOD, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert "example.org." in done.stdout


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["-nonsense"], ["-p", "dns", "a"]])
def test_check_refused(arguments, capsys):
    """Anything but one file and flags is answered with the usage or the fault."""
    assert main(["check", *arguments]) == 1
    assert capsys.readouterr().err.startswith("shardns check: ")


def test_check_of_a_template(tmp_path: Path, capsys, monkeypatch):
    """A template is filled in as the flags say, and written nowhere; without them it says what it lacks."""
    path = tmp_path / "Corefile.base"
    path.write_text(
        "__PILLAR__DNS__DOMAIN__ {\n    bind __PILLAR__LOCAL__DNS__\n    forward . __PILLAR__CLUSTER__DNS__\n}\n"
    )
    monkeypatch.setenv("KUBE_DNS_SERVICE_HOST", "192.0.2.53")
    command = [
        "check",
        str(path),
        "-localip",
        "127.0.0.1",
        "-cluster-domain",
        "example.org",
        "-conf",
        str(tmp_path / "x"),
    ]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "server block 1: example.org." in out
    assert "192.0.2.53:53" in out
    assert main(["check", str(path)]) == 1
    assert capsys.readouterr().err.endswith("2 errors\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["Corefile.base"]


def test_check_of_a_command_line(capsys, monkeypatch):
    """Without a file, what these flags would serve is checked: here the built-in template."""
    monkeypatch.setenv("KUBE_DNS_SERVICE_HOST", "192.0.2.53")
    assert main(["check", "-localip", "127.0.0.1", "-basecorefile="]) == 0
    assert "server block 4: .\n" in capsys.readouterr().out


def test_check_help(capsys):
    """shardns check -help needs no file."""
    assert main(["check", "-help"]) == 0
    assert "shardns check FILE" in capsys.readouterr().out


def test_banner_names_zones_and_addresses(capsys, monkeypatch):
    """On a terminal the banner has a line for each zone and address, as CoreDNS's; elsewhere it is left out."""
    plan = CorefileSource(Options(workers=1, corefile=GOOD, dns_port=1053)).load()
    capsys.readouterr()  # what was logged
    texts.announce(plan)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    texts.announce(plan)
    assert capsys.readouterr().out.splitlines()[0] == "example.org.:1053 on 127.0.0.1"
