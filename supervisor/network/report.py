"""What was done to the node and what could not be, as it comes from a child: plain data, through JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

# node-cache's values of coredns_nodecache_setup_errors_total{errortype}.
ErrorType = Literal["iptables", "iptables_lock", "interface_add", "interface_check", "configmap"]

NO_CAPABILITY = "we have no CAP_NET_ADMIN"
GRANT = "add NET_ADMIN to securityContext.capabilities.add"
NO_RAW_SOCKET = "we have no CAP_NET_RAW, which legacy iptables wants"
GRANT_RAW = "add NET_RAW to securityContext.capabilities.add, or give --netfilter nftables"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be: what, why, and what its operator can do."""

    error_type: ErrorType
    what: str
    reason: str
    hint: str = ""


@dataclass(slots=True)
class Report:
    """What one look at the node came to."""

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what an operator should know, and nothing is wrong with
    withheld: list[str] = field(default_factory=list)  # addresses that are not answered on here: no rules
    backend: str = ""  # what the rules are kept in; empty: not chosen
    why: str = ""  # it was chosen

    def include(self, other: Report) -> None:
        """Take in what another part has found."""
        self.added += other.added
        self.removed += other.removed
        self.problems += other.problems
        self.notes += other.notes
        self.withheld += other.withheld

    def fail(self, error_type: ErrorType, what: str, reason: str, hint: str = "") -> None:
        """Note a problem."""
        self.problems.append(Problem(error_type, what, reason, hint))

    def to_json(self) -> bytes:
        """For the way from a child."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, octets: bytes) -> Report:
        """What a child has sent. Raises ValueError for anything else."""
        facts = json.loads(octets)
        facts["problems"] = [Problem(**problem) for problem in facts["problems"]]
        return cls(**facts)
