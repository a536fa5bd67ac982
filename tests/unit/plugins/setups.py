"""Setting up one plugin from the text of its lines."""

from __future__ import annotations

from typing import Any

from shardns.corefile import parse
from shardns.errors import ConfigError, ConfigErrors
from shardns.plugins import api, order

FILES = {
    "/etc/resolv.conf": "# why\nsearch example.org\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions ndots:5\n",
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/empty.conf": "search example.org\n",
    "/etc/broken.conf": "nameserver ns.example.org\n",
}
INTERFACES = {"eth0": ("192.0.2.10", "2001:db8::10", "fe80::1%eth0"), "down0": ()}


def read(path: str) -> str:
    """A file of the table above."""
    if path not in FILES:
        raise FileNotFoundError(2, "No such file or directory", path)
    return FILES[path]


class Setup:
    """The Config of one plugin and the warnings on the way to it."""

    def __init__(self, text: str, zones: tuple[str, ...] = (".",), own: tuple[tuple[str, int], ...] = ()) -> None:
        (block,) = parse(". {\n" + text + "\n}", file="Corefile", env={}, read=lambda _: ())
        self.warnings: list[ConfigError] = []
        name = block.directives[0].name
        scope = api.Scope(zones, read, INTERFACES.get, own, ("192.0.2.10",), self.warnings.append)
        self.config: Any = order.plugin(name).setup(block.directives, scope)

    @property
    def warned(self) -> list[str]:
        """The warnings' words."""
        return [warning.message for warning in self.warnings]


def config(text: str, **scope: Any) -> Any:
    """The Config; a warning fails the test."""
    made = Setup(text, **scope)
    assert made.warned == []
    return made.config


def errors(text: str, **scope: Any) -> list[str]:
    """The errors as line:column: message, lines counted from the text's first."""
    try:
        Setup(text, **scope)
    except ConfigError as error:
        found = [error]
    except ConfigErrors as several:
        found = list(several.errors)
    else:
        return []
    return [f"{e.at.line - 1}:{e.at.column}: {e.message}" for e in found if e.at is not None]
