"""The supervisor's side of the node: when to look at interface and rules, and what to say about what was found.

    prepare()      before the listening sockets are made: the interface
    serve()        every process serves: the rules, and from now on both are watched
    withdraw()     the end begins: no rules, so that pods ask kube-dns, while we still answer what has arrived
    tear_down()    the end: no interface

The work itself is done by short-lived children (jobs.py), one at a time. prepare, withdraw and tear_down wait for
theirs.
"""

from __future__ import annotations

import select
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from shardns.log import get_logger
from supervisor.network import jobs
from supervisor.network.desired import Desired, Netfilter, Wishes, desired
from supervisor.network.jobs import Job
from supervisor.network.notices import Notices, interest
from supervisor.network.presence import Presence
from supervisor.network.report import ErrorType, Problem, Report

SETTLE_S: Final = 0.05  # after a notice: what is removed together is put back together
BURST: Final = 8  # looks for notices in a row; after that one every REFILL_S: somebody removes what we put back
REFILL_S: Final = 5.0
LOCK_RETRY_S: Final = 5.0  # after the xtables lock was held too long

log = get_logger()


class Node:
    """Interface and rules of one run of the supervisor. Wishes without addresses need nothing, and nothing is done."""

    def __init__(self, wishes: Wishes, poll: select.poll) -> None:
        """poll: where what is waited for is registered; heard() is to be told of its events."""
        self._wishes = wishes
        self._poll = poll
        self._wanted = desired(wishes)
        self._is_needed = bool(self._wanted.interface or self._wanted.rules)
        self._presence: Presence | None = None
        self._notices: dict[int, Notices] = {}
        self._job: Job | None = None
        self._backend = ""
        self._serves = False
        self._next_sync: float | None = None
        self._next_look: float | None = None  # because of a notice
        self._tokens = float(BURST)
        self._tokens_at = 0.0
        self._problems: frozenset[Problem] = frozenset()
        self._notes: set[str] = set()
        self.errors: Counter[ErrorType] = Counter()  # how often each has happened

    # ------------------------------------------------------------------------------------------------ the life's parts

    def prepare(self) -> None:
        """Interface and addresses are there, or it was said why not. Takes up to 30 s."""
        if not self._is_needed:
            return
        try:
            self._presence = Presence(self._wishes.interface)
        except OSError as error:
            log.warning("setup.warned", note=f"other instances cannot see this one: {error.strerror}")
        if self._wanted.interface:
            self._listen(is_route=True)
            self._run(partial(_ensure, self._wanted.without_rules(), self._wishes.netfilter))

    def serve(self, now: float) -> None:
        """Every process serves: rules may lead packets to us."""
        if self._is_needed and not self._serves:
            self._serves = True
            self._next_sync = now
            if self._wanted.rules:
                self._listen(is_route=False)
            self.tick(now)

    def withdraw(self) -> None:
        """Packets are led to us no more, unless another instance takes them or the rules are to stay."""
        if not self._is_needed:
            return
        self._stop_watching()
        if self._backend and self._wanted.rules and self._may_tear_down():
            self._run(partial(_remove_rules, self._wanted, self._backend))
            self._backend = ""

    def tear_down(self) -> None:
        """Nothing of ours is left, unless another instance needs it or it is to stay."""
        if not self._is_needed:
            return
        self.withdraw()
        if self._wanted.interface and self._may_tear_down():
            self._run(partial(_remove_interface, self._wanted))
        if self._presence is not None:
            self._presence.close()
            self._presence = None
        self._is_needed = False

    # ------------------------------------------------------------------------------------------------ while it serves

    def heard(self, fd: int, now: float) -> bool:
        """Whether fd is one of ours; what it has to say was taken in then."""
        notices = self._notices.get(fd)
        if notices is not None:
            if notices.take() and self._next_look is None:
                self._next_look = self._after_notice(now)
            return True
        if self._job is None or fd != self._job.fd:
            return False
        report = self._job.read()
        if report is not None:
            self._poll.unregister(fd)
            self._job = None
            self._take(report)
            is_locked = any(problem.error_type == "iptables_lock" for problem in report.problems)
            wait_s = min(LOCK_RETRY_S, self._wishes.sync_s) if is_locked else self._wishes.sync_s
            self._next_sync = now + wait_s if self._serves else None
        return True

    def tick(self, now: float) -> None:
        """Look at the node if it is time."""
        if self._job is not None:
            if self._job.deadline <= now:
                self._job.kill()
            return
        due = [at for at in (self._next_look, self._next_sync) if at is not None]
        if not due or min(due) > now:
            return
        self._next_look, self._next_sync = None, None
        wanted = self._wanted if self._serves else self._wanted.without_rules()
        try:
            self._job = jobs.start(partial(_ensure, wanted, self._wishes.netfilter, self._backend))
        except OSError as error:
            self._take(_unable(error))
            self._next_sync = now + self._wishes.sync_s
            return
        self._poll.register(self._job.fd, select.POLLIN)

    def wake_at(self) -> float | None:
        """When tick() has something to do; None: only when heard() has."""
        if self._job is not None:
            return self._job.deadline
        return min((at for at in (self._next_look, self._next_sync) if at is not None), default=None)

    # ------------------------------------------------------------------------------------------------------ small parts

    def _after_notice(self, now: float) -> float:
        """When to look because of a notice: soon, and less soon when that never ends."""
        self._tokens = min(float(BURST), self._tokens + (now - self._tokens_at) / REFILL_S)
        self._tokens_at = now
        if self._tokens < 1:
            return now + REFILL_S
        self._tokens -= 1
        return now + SETTLE_S

    def _listen(self, *, is_route: bool) -> None:
        """Hear of what is removed. Where that cannot be, the sync interval finds it."""
        try:
            notices = Notices(interest(self._wanted, self._backend), is_route=is_route)
        except OSError as error:
            log.warning("setup.warned", note=f"what is removed is found at -syncinterval only: {error.strerror}")
            return
        self._notices[notices.fileno()] = notices
        self._poll.register(notices, select.POLLIN)

    def _stop_watching(self) -> None:
        """Nothing is put back from now on; a look that is under way is awaited."""
        for notices in self._notices.values():
            self._poll.unregister(notices)
            notices.close()
        self._notices.clear()
        self._serves, self._next_look, self._next_sync = False, None, None
        if self._job is not None:
            self._poll.unregister(self._job.fd)
            job, self._job = self._job, None
            self._take(job.wait())

    def _may_tear_down(self) -> bool:
        """Whether nobody else needs what we have set up."""
        if self._wishes.skips_teardown:
            return False
        others = self._presence.others() if self._presence is not None else 0
        if others:
            log.info("teardown.skipped", interface=self._wishes.interface, instances=others)
        return not others

    def _run(self, work: Callable[[], Report]) -> None:
        """Have a child do the work, and wait for it."""
        try:
            self._take(jobs.start(work).wait(), is_look=False)
        except OSError as error:
            self._take(_unable(error), is_look=False)

    def _take(self, report: Report, *, is_look: bool = True) -> None:
        """Log and count what a child reports. A problem that stays is said once and counted each time.

        is_look  the child has looked at everything: what it does not complain of is well
        """
        if report.backend and not self._backend:
            self._backend = report.backend
            log.info("rules.chosen", backend=report.backend, why=report.why)
            for notices in self._notices.values():
                notices.mine = interest(self._wanted, self._backend)
        if report.added:
            log.info("setup.added", what=report.added)
        if report.removed:
            log.info("setup.removed", what=report.removed)
        for note in report.notes:
            if note not in self._notes:
                log.warning("setup.warned", note=note)
        self._notes.update(report.notes)
        problems = frozenset(report.problems)
        for problem in report.problems:
            self.errors[problem.error_type] += 1
            if problem not in self._problems:
                log.error("setup.failed", what=problem.what, error=problem.reason, hint=problem.hint)
        gone = self._problems - problems if is_look else frozenset()
        if gone:
            log.info("setup.recovered", what=sorted({problem.what for problem in gone}))
        self._problems = problems if is_look else self._problems | problems


def _unable(error: OSError) -> Report:
    """No child could be had."""
    report = Report()
    report.fail("interface_check", "setting up the node", error.strerror or str(error))
    return report


# What a child does. Only there is reconcile.py loaded: it takes along 0.7 MB that nobody else here needs.


def _ensure(wanted: Desired, asked: Netfilter, backend: str = "") -> Report:
    from supervisor.network import reconcile

    return reconcile.ensure(wanted, asked, backend)


def _remove_rules(wanted: Desired, backend: str) -> Report:
    from supervisor.network import reconcile

    return reconcile.remove_rules(wanted, backend)


def _remove_interface(wanted: Desired) -> Report:
    from supervisor.network import reconcile

    return reconcile.remove_interface(wanted)
