"""Plans from the Corefile: a file or standard input as it is, or a template with its placeholders filled in.

Which of them, looked at anew by every load():

    -conf stdin             standard input, read once
    -basecorefile exists    it is the template; the text goes to the file -conf, and is served also where that fails
    -conf is given          that file, as it is
    neither                 the built-in template

To a template belongs what the ConfigMap kube-dns says. What is wrong with that never costs the template's own service:
the ConfigMap as it was before stays in force.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shardns import plan as plans
from shardns.corefile import ServerBlock, files, parse, zone_keys
from shardns.errors import ConfigError, ConfigErrors, Position
from shardns.log import get_logger
from shardns.plan import Plan
from supervisor import interfaces
from supervisor.options import BASE_COREFILE, CLUSTER_DOMAIN, KUBE_DNS, STDIN, Options
from supervisor.sources import disk, kubedns, placeholders, service
from supervisor.sources.kubedns import KubeDns
from supervisor.sources.placeholders import Lack
from supervisor.sources.resolv import Reader

RESOLV_CONF = "/etc/resolv.conf"
BUILT_IN = "built-in Corefile"
_TRIES = 3  # to read a template: a version of its ConfigMap may go while its path is walked
_GIVEN_DOMAIN = "replace it in the manifest by the cluster's domain, or give -cluster-domain"
_AS_IT_IS = Lack(
    "this file is served as it is", "name it by -basecorefile to have it filled in; -conf takes the result"
)

log = get_logger()


class Source(Protocol):
    """Something that can be asked for the Plan as it should be now."""

    configmap_errors: int
    """How often the ConfigMap kube-dns was found wrong."""

    def load(self) -> Plan:
        """The Plan. Raises ConfigError or ConfigErrors."""

    def has_changed(self) -> bool:
        """Whether what load() read, and nobody else looks at, differs by now."""


@dataclass(frozen=True, slots=True)
class _Corefile:
    """A text to make a Plan of."""

    name: str  # for messages; imports are relative to it
    text: str
    template: str = ""  # what it is the text of, if that is a template; empty: it is served as it is


@dataclass(frozen=True, slots=True)
class _Made:
    """A Plan and the whole text behind it; or what is wrong with the text."""

    text: str
    plan: Plan | None
    errors: tuple[ConfigError, ...] = ()
    notes: tuple[ConfigError, ...] = ()  # what the operator should know that stands in no Corefile


class CorefileSource:
    """Plans from what the options name. Keeps the numbers of listeners and rows the same over all of them."""

    def __init__(self, options: Options, *, env: Mapping[str, str] = os.environ, is_trial: bool = False) -> None:
        """Read nothing yet.

        env       of the Services' addresses and of {$VAR}
        is_trial  write and log nothing, and let an error in the ConfigMap be one of the whole
        """
        self.configmap_errors = 0
        self._options = options
        self._env = env
        self._is_trial = is_trial
        self._registry = plans.Registry()
        self._stdin: str | None = None
        self._watch = disk.Watch()
        self._kube = KubeDns()  # as it was last when it was good
        self._refused = ""  # the errors of the ConfigMap as it was read last, if it had some
        self._told: dict[str, object] = {}  # what the log said last, by event

    def load(self) -> Plan:
        """The Plan that the configuration describes now. Raises ConfigError or ConfigErrors."""
        self._watch = disk.Watch()
        corefile = self._corefile()
        if not corefile.template:
            as_it_is = dict.fromkeys(placeholders.ALL, _AS_IT_IS)
            return self._plan_of(self._made(corefile.name, corefile.text, KubeDns(), as_it_is))
        refused, self._refused = self._refused, ""
        kube = self._kube_dns(refused)
        made = self._filled(corefile, kube)
        if made.plan is None and kube != self._kube:
            without = self._filled(corefile, self._kube)
            if without.plan is not None:
                self._refuse(made.errors, refused)
                made, kube = without, self._kube
        written = self._write(corefile, made.text)
        plan = self._plan_of(made)
        self._kube = kube
        self._tell_filled(corefile, written)
        return plan

    def has_changed(self) -> bool:
        """Whether the template, the ConfigMap or a resolv.conf differs from what the last load() found.

        A file of -conf that is served as it is does not count: the plugin reload looks at it. With -reloadwithsignal
        it does.
        """
        return self._watch.has_changed()

    # ----------------------------------------------------------------------------------------------- which Corefile

    def _corefile(self) -> _Corefile:
        """What is to be served. Raises ConfigError."""
        options = self._options
        if options.conf == STDIN:
            if self._stdin is None:
                self._stdin = sys.stdin.read()
            return _Corefile(STDIN, self._stdin)
        base = options.base_corefile
        if base:
            self._watch.file(base)
            template = _template(base)
            if template is not None:
                self._watch.directory(str(Path(base).parent), {Path(options.conf).name})
                return _Corefile(options.conf or base, template, base)
            self._tell_missing(base)
        if not options.conf:
            return _Corefile(BUILT_IN, options.corefile, BUILT_IN)
        if options.reload_with_signal:
            self._watch.file(options.conf)
        return _Corefile(options.conf, _text(options.conf, "see -conf"))

    def _tell_missing(self, base: str) -> None:
        """Say that there is no template, in node-cache's words."""
        reason = f"Failed to read node-cache coreFile {base} - open {base}: no such file or directory"
        facts = {"reason": reason, "serving": self._options.conf or BUILT_IN}
        if not self._is_news("template.missed", facts):
            return
        if base == BASE_COREFILE:
            log.info("template.missed", **facts)
        else:
            log.warning("template.missed", **facts)

    def _tell_filled(self, corefile: _Corefile, written: str) -> None:
        """Say what the template was filled in with, and where the text is."""
        kube = self._kube
        facts: dict[str, object] = {
            "template": corefile.template,
            "written_to": written,
            "cluster_dns": self._cluster_dns().address,
            "stub_domains": [zone for zone, _ in kube.stubs],
            "upstreams": list(kube.upstreams) or [RESOLV_CONF],
        }
        if self._is_news("corefile.filled", facts):
            log.info("corefile.filled", **facts)

    # ----------------------------------------------------------------------------------------------- the ConfigMap

    def _kube_dns(self, refused: str) -> KubeDns:
        """What the ConfigMap kube-dns says; what it said before where it is wrong now."""
        where = self._options.kube_dns
        if not where:
            return KubeDns()
        self._watch.directory(where)
        try:
            values = disk.texts(where)
            if values is None and where != KUBE_DNS and self._is_news("config.warned", where):
                log.warning("config.warned", warning=f"-kubednscm: there is no directory {where}")
            return kubedns.read(values or {}, where)
        except ConfigErrors as errors:
            self._refuse(errors.errors, refused)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._refuse([ConfigError(None, f"cannot read {where}: {reason}")], refused)
        return self._kube

    def _refuse(self, errors: Iterable[ConfigError], before: str) -> None:
        """The ConfigMap is not used; said and counted once for as long as it has these errors."""
        wrong = ConfigErrors(errors)
        if self._is_trial:
            raise wrong
        self._refused = str(wrong)
        if self._refused == before:
            return
        self.configmap_errors += 1
        for error in wrong.errors:
            log.error("configmap.refused", directory=self._options.kube_dns, error=str(error))

    # ------------------------------------------------------------------------------------------------- the template

    def _filled(self, corefile: _Corefile, kube: KubeDns) -> _Made:
        """What comes of the template with kube."""
        options = self._options
        text, stays = kubedns.without_tcp(corefile.text) if kube.upstreams else (corefile.text, False)
        values, lacks = self._values(kube, is_built_in=corefile.template == BUILT_IN)
        notes: list[ConfigError] = []
        if stays:
            what = f"{kubedns.UPSTREAMS} of {options.kube_dns} are asked by TCP: the forward block says more than that"
            notes.append(ConfigError(None, what, hint="take force_tcp out for UDP"))
        return self._made(corefile.name, placeholders.fill(text, values, options.local_ips), kube, lacks, notes)

    def _values(self, kube: KubeDns, *, is_built_in: bool) -> tuple[dict[str, str], dict[str, Lack]]:
        """What stands in place of each placeholder, and why nothing does."""
        options = self._options
        values = {
            placeholders.SERVER: "",  # as in node-cache: LOCAL has all addresses
            placeholders.UPSTREAM: " ".join(kube.upstreams) or RESOLV_CONF,
            placeholders.ENDPOINT: options.prometheus_endpoint,
        }
        lacks = dict.fromkeys(
            placeholders.ALL, Lack("it stands in an imported file", "only the template itself is filled in")
        )
        if options.local_ips:
            values[placeholders.LOCAL] = " ".join(options.local_ips)
        else:
            lacks[placeholders.LOCAL] = Lack("-localip is not given", "give the addresses to serve on")
        domain = options.cluster_domain or (CLUSTER_DOMAIN if is_built_in else "")
        if domain:
            values[placeholders.DOMAIN] = domain
        else:
            lacks[placeholders.DOMAIN] = Lack("node-cache leaves it to the manifest", _GIVEN_DOMAIN)
        found = self._cluster_dns()
        if found.address:
            values[placeholders.CLUSTER] = found.address
        else:
            lacks[placeholders.CLUSTER] = Lack(found.why, found.remedy)
        return values, lacks

    def _cluster_dns(self) -> service.Found:
        """Where the cluster's DNS is, or why that is not known."""
        return service.find(self._options.upstream_service, self._env, self._options.local_ips)

    def _made(
        self, name: str, text: str, kube: KubeDns, lacks: Mapping[str, Lack], notes: Iterable[ConfigError] = ()
    ) -> _Made:
        """The Plan of a text and of the stub domains, or everything that is wrong with them."""
        notes = list(notes)
        warnings: list[ConfigError] = []
        try:
            blocks = parse(text, file=name, env=self._env, read=files.read, notes=warnings)
        except ConfigErrors as wrong:
            return _Made(text, None, wrong.errors)
        stubs = self._stubs(kube, blocks, notes)
        blocks += parse(stubs, file=f"stub domains of {self._options.kube_dns}", env={}, read=files.read)
        errors, places = placeholders.left(blocks, lacks)
        reader = Reader(self._watch.file)
        known = interfaces.by_interface()
        surroundings = plans.Options(
            read=reader.read,
            interface=known.get,
            port=self._options.dns_port,
            local=[address for addresses in known.values() for address in addresses],
            notes=warnings,
        )
        try:
            plan = plans.resolve(blocks, surroundings, self._registry)
        except ConfigErrors as wrong:
            errors += [error for error in wrong.errors if error.at not in places]
        if errors:
            return _Made(text + stubs, None, ConfigErrors(errors).errors)
        return _Made(text + stubs, plan, notes=(*notes, *reader.notes))

    def _stubs(self, kube: KubeDns, blocks: Iterable[ServerBlock], notes: list[ConfigError]) -> str:
        """The server blocks of the stub domains, but for zones that the template serves itself.

        DIFFERS: node-cache adds them all, and its reload fails when a zone is there twice.
        """
        options = self._options
        taken = {zone for block in blocks for zone in _zones(block, options.dns_port)}
        for zone, _ in kube.stubs:
            if zone in taken:
                what = f"stub domain {zone} of {options.kube_dns} is not used: the Corefile has a server block for it"
                notes.append(ConfigError(None, what, hint="remove one of the two"))
        return kubedns.blocks(
            [stub for stub in kube.stubs if stub[0] not in taken], options.dns_port, options.local_ips
        )

    def _write(self, corefile: _Corefile, text: str) -> str:
        """Put the text where -conf says; the path, or nothing where it is not there. That costs only the file."""
        path = self._options.conf
        if not path or self._is_trial or corefile.template == BUILT_IN:
            return ""
        if os.path.realpath(path) == os.path.realpath(corefile.template):
            reason = "it is the template itself"
        else:
            try:
                disk.write(path, text)
                return path
            except OSError as error:
                reason = error.strerror or str(error)
        if self._is_news("corefile.write_failed", reason):
            log.warning("corefile.write_failed", path=path, error=reason, served=f"{corefile.template}, filled in")
        return ""

    def _plan_of(self, made: _Made) -> Plan:
        """The Plan; notes that are new are logged, or in a trial part of its warnings. Raises ConfigErrors."""
        if made.plan is None:
            raise ConfigErrors(made.errors)
        if self._is_trial and made.notes:
            return dataclasses.replace(made.plan, warnings=ConfigErrors([*made.plan.warnings, *made.notes]).errors)
        if self._is_news("notes", made.notes):
            for note in made.notes:  # not with the Plan's: they change while it stays the same
                log.warning("config.warned", warning=str(note))
        return made.plan

    def _is_news(self, event: str, facts: object) -> bool:
        """Whether the log has not just said that."""
        if self._is_trial or self._told.get(event) == facts:
            return False
        self._told[event] = facts
        return True


def _zones(block: ServerBlock, port: int) -> Iterator[str]:
    """The zones that a block serves on port; none of a key that cannot be read, which is an error of its own."""
    for token in block.keys:
        with contextlib.suppress(ConfigError):
            yield from (key.zone for key in zone_keys(token) if key.port in (0, port))


def _template(path: str) -> str | None:
    """The text of a template; None where there is none. Raises ConfigError."""
    for _ in range(_TRIES):
        try:
            return files.text(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError):
            return _text(path, "see -basecorefile")  # which says why not
    return None


def _text(path: str, hint: str) -> str:
    """The text of a Corefile. Raises ConfigError."""
    try:
        return files.text(path)
    except OSError as error:
        raise ConfigError(None, f"cannot read the Corefile {path}: {error.strerror}", hint=hint) from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ConfigError(
            _place(path, error), f"the file is not UTF-8: byte {byte:#04x}", hint="save the file as UTF-8"
        ) from None
    except ValueError as error:
        raise ConfigError(None, f"cannot read the Corefile: {error}") from None


def _place(path: str, error: UnicodeDecodeError) -> Position:
    """Where the octet stands that is no text."""
    before = error.object[: error.start].decode().splitlines(keepends=True)
    if not before or before[-1].endswith("\n"):
        return Position(path, len(before) + 1, 1)
    return Position(path, len(before), len(before[-1]) + 1)
