# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs planned steps: the one place where a fact becomes a change of the system."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import typing as t
from dataclasses import dataclass

from ..errors import EgressError
from ..model import (
    HOST,
    Address,
    Claim,
    Fact,
    File,
    Flows,
    Identity,
    Learned,
    Limit,
    Link,
    Misled,
    Namespace,
    Occupied,
    Route,
    Ruleset,
    Sender,
    Setting,
    Vlans,
    is_ours,
)
from ..planning.step import Step
from ..spec.drop_ins import manager_of
from . import (
    addresses,
    base_chains,
    conntrack,
    files,
    limits,
    link_creation,
    managers,
    port_table,
    routes,
    rulesets,
    sysctls,
    tenant_drift,
    vlans,
)
from .link_messages import set_link
from .links import Links, send, set_loopback
from .namespaces import Namespaces
from .netlink import Answer, Message, kernel_error
from .sealed_table import SealError

NEW_FILE = 0o644
_GONE = (errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENOENT)
_THERE = (errno.EEXIST,)
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL)


_REQUESTS = (Address, Limit, Route, Vlans)


@dataclass(frozen=True)
class _Request:
    """One message of a step, and which errors are no failure. instead: what is sent where no way leads there."""

    step: Step
    message: Message
    accepted: tuple[int, ...]
    instead: Message | None = None


class StepError(Exception):
    """One of several steps failed; done are those that took effect, or may have."""

    def __init__(self, step: Step, cause: EgressError, done: t.Sequence[Step]) -> None:
        super().__init__(str(cause))
        self.step = step
        self.cause = cause
        self.done = list(done)


class Executor:
    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self.links = Links(namespaces)
        # What goes elsewhere of the rulesets that come: by these flows began, and by these they go on after a way back.
        self.elsewhere: dict[Identity, Ruleset] = {}
        # New bridges that are to get ports: one that is up floods what each newcomer sends to all that are there.
        self.rising: dict[Identity, Link] = {}
        self.low: list[Link] = []
        self.going_back = False

    def batches(self, steps: t.Sequence[Step]) -> list[list[Step]]:
        """Neighbouring steps that go in one request or one transaction. steps: all of a plan."""
        gone = [step.before for step in steps if step.after is None and isinstance(step.before, Ruleset)]
        self.elsewhere = {ruleset.identity[:4]: ruleset for ruleset in gone}
        new = [step.after for step in steps if step.before is None and isinstance(step.after, Link)]
        masters = {("link", link.netns, link.master) for link in new if link.master}
        self.rising = {link.identity: link for link in new if link.up and link.identity in masters}
        return [list(group) for _key, group in itertools.groupby(steps, key=_batch_key)]

    def run(self, batch: t.Sequence[Step]) -> None:
        """Run one batch. Errors: StepError, with those of its steps that took effect; others say nothing of that."""
        kind = type(batch[0].fact)
        if kind is not Link and getattr(batch[0].fact, "netns", HOST) == HOST:
            self._guarded(batch[:1], self.raise_bridges, [])
        if kind in _REQUESTS:
            self._run_requests(batch)
            return
        if kind is Link and batch[0].before is None:
            self._create_links(batch)
            return
        if kind is Namespace and batch[0].after is None:
            self._remove_namespaces(batch)
            return
        if kind in (Sender, Ruleset):
            action = self._senders if kind is Sender else self._rulesets
            try:
                self._guarded(batch, lambda: action(batch), [])
            except StepError as failed:
                if isinstance(failed.cause, SealError):
                    # All of it is there, and has to be undone.
                    failed.done = list(batch)
                raise
            return
        done: list[Step] = []
        for step in batch:
            self._guarded([step], lambda step=step: _RUN[kind](self, step.before, step.after, step.line), done)  # type: ignore[misc]
            done.append(step)

    def raise_bridges(self) -> None:
        """Bring new bridges up, all of whose ports are there. Errors: KernelError."""
        while self.low:
            bridge = self.low[0]
            asked = f"bring bridge {bridge.name} up"
            send(self.namespaces.socket(bridge.netns), asked, set_link([], name=bridge.name, up=True))
            del self.low[0]

    def go_back(self, steps: t.Sequence[Step]) -> None:
        """From now on only what was done is undone. steps: those that may have taken effect; each may have not."""
        self.going_back = True
        self.batches(steps)
        self.rising.clear()
        self.low.clear()
        self.links.forget()
        self.namespaces.make_room()
        self.namespaces.go_home()
        self.namespaces.forget_replaced()

    def remove_containers(self, unneeded: t.Mapping[str, t.Collection[Identity]]) -> None:
        """Remove those tables and base chains of iptables-nft in which nothing is, by namespace."""
        for netns, identities in unneeded.items():
            if self.namespaces.exists(netns):
                base_chains.remove(self.namespaces, netns, identities)

    def _guarded(self, steps: t.Sequence[Step], action: t.Callable[[], None], done: t.Sequence[Step]) -> None:
        """done: before these steps. What fails by an error of the system has perhaps sent some of its messages."""
        try:
            action()
        except EgressError as error:
            raise StepError(steps[0], error, done) from error
        except OSError as error:
            cause = EgressError(steps[0].line, str(error))
            raise StepError(steps[0], cause, [*done, *steps]) from error

    def _run_requests(self, batch: t.Sequence[Step]) -> None:
        requests: list[_Request] = []
        for step in batch:
            self._guarded([step], lambda step=step: requests.extend(self._requests(step)), [])  # type: ignore[misc]
        answers: list[Answer] = []
        netns = getattr(batch[0].fact, "netns", HOST)
        opened = self.namespaces.socket(netns)
        messages = [request.message for request in requests]
        if not messages:
            return
        self._guarded(batch, lambda: answers.extend(opened.request(messages)), [])
        for place, (request, answer) in enumerate(zip(requests, answers)):
            if request.instead and answer.errno in _NO_WAY:
                answers[place] = opened.request([request.instead])[0]
        pairs = list(zip(requests, answers))
        failed = [(request.step, answer) for request, answer in pairs if answer.errno not in (0, *request.accepted)]
        if failed:
            refused = [request.step for request, answer in pairs if answer.errno]
            step, answer = failed[0]
            raise StepError(step, kernel_error(step.line, answer), [done for done in batch if done not in refused])

    def _requests(self, step: Step) -> t.Iterator[_Request]:
        """What is there already, or gone already, is what was wanted; the second observation looks closer."""
        fact = step.fact
        if step.after is None and self._is_gone(fact):
            return
        if isinstance(fact, Address):
            index = self.links.index(fact.netns, fact.link)
            if step.before is not None:
                yield _Request(step, addresses.delete(fact, index), _GONE)
            if step.after is not None:
                yield _Request(step, addresses.add(fact, index), _THERE)
            return
        if isinstance(fact, Limit):
            if fact.foreign or (fact.rate is None and step.after is not None):
                return  # it was made by another one, who alone can make it again
            index = self.links.index(fact.netns, fact.link)
            if step.after is not None and isinstance(step.before, Limit) and step.before.discipline:
                # The kernel changes none of another kind that has the same handle.
                yield _Request(step, limits.lift(index, managed=False), _GONE)
            message = (
                limits.lift(index, managed=fact.rate is not None) if step.after is None else limits.put(fact, index)
            )
            yield _Request(step, message, _GONE if step.after is None else ())
            return
        if isinstance(fact, Vlans):
            yield from self._vlans(step, fact)
            return
        fact = t.cast(Route, fact)
        device = self.links.index(fact.netns, fact.device) if fact.device else 0
        if step.after is None:
            yield _Request(step, routes.delete(fact, device), _GONE)
        else:
            send = routes.add if step.before is None else routes.replace
            # The rules of a tenant may hide the way to the gateway, which is one of the link's network all the same.
            named = fact.netns != HOST and fact.gateway and fact.onlink is None
            instead = send(dataclasses.replace(fact, onlink=True), device) if named else None
            yield _Request(step, send(fact, device), _THERE, instead)

    def _is_gone(self, fact: Fact) -> bool:
        """Whether the namespace or link that it was in or on is gone, and it with that. Asked on a way back alone."""
        netns, link = getattr(fact, "netns", HOST), getattr(fact, "link", "") or getattr(fact, "device", "")
        if not self.going_back:
            return False
        return not self.namespaces.exists(netns) or bool(link and self.links.get(netns, link) is None)

    def _vlans(self, step: Step, fact: Vlans) -> t.Iterator[_Request]:
        link = self.links.get(fact.netns, fact.link)
        if link is None or step.after is None:
            return  # a port leaves its VLANs when it leaves its bridge
        before = step.before if isinstance(step.before, Vlans) else None
        for message in vlans.put(before, fact, link.index, link.kind == "bridge"):
            yield _Request(step, message, _GONE)

    def _namespace(self, before: Namespace | None, after: Namespace | None, asked: str) -> None:
        if before is None and after is not None:
            if self.going_back:
                self._restore(after, asked)
            elif after.attach:
                self._attach(after, after.attach, asked)
            else:
                self.namespaces.create(after.name, after.alias or "", bool(after.loopback))
        elif after is not None:
            set_loopback(self.namespaces.socket(after.name), after.alias, bool(after.loopback), asked)
            if after.alias and before and before.alias != after.alias:
                self.namespaces.mark(after.name, after.alias)
            if after.accept_redirects is False:
                self.namespaces.close_to_redirects(after.name, asked)

    def _restore(self, removed: Namespace, asked: str) -> None:
        """One with all that is in it: an empty one would be another."""
        if not self.namespaces.restore(removed.name) and not self.namespaces.exists(removed.name):
            raise EgressError(asked, "nothing holds it any more")

    def _remove_namespaces(self, batch: t.Sequence[Step]) -> None:
        if self.going_back:
            batch = [step for step in batch if self.namespaces.exists(t.cast(Namespace, step.before).name)]
        names = [t.cast(Namespace, step.before).name for step in batch]
        self.links.forget()
        gone = 0
        try:
            for _name in self.namespaces.remove(names):
                gone += 1
        except EgressError as error:
            raise StepError(batch[gone], error, batch[:gone]) from error
        except OSError as error:
            raise StepError(batch[gone], EgressError(batch[gone].line, str(error)), batch[: gone + 1]) from error

    def _attach(self, fact: Namespace, path: str, asked: str) -> None:
        self.namespaces.attach(fact.name, path)
        try:
            if fact.loopback:
                set_loopback(self.namespaces.socket(fact.name), None, True, asked)
        except BaseException:
            list(self.namespaces.remove([fact.name]))
            raise

    def _create_links(self, batch: t.Sequence[Step]) -> None:
        if self.going_back:
            batch = [step for step in batch if not self._is_there(t.cast(Link, step.after))]
        wanted = [t.cast(Link, step.after) for step in batch]
        held = [dataclasses.replace(link, up=False) if link.identity in self.rising else link for link in wanted]
        made = len(wanted)
        try:
            link_creation.create(self.namespaces, self.links, held, lambda position: batch[position].line)
        except link_creation.CreationError as error:
            made = error.position
            raise StepError(batch[error.position], error.cause, batch[: error.position]) from error.cause
        except OSError as error:
            made = 0
            raise StepError(batch[0], EgressError(batch[0].line, str(error)), batch) from error
        finally:
            self.low += [link for link in wanted[:made] if link.identity in self.rising]

    def _link(self, before: Link | None, after: Link | None, asked: str) -> None:
        if before is not None and after is None:
            self.low = [link for link in self.low if link.identity != before.identity]
            if not self.going_back or self._is_there(before):
                self.links.delete(before, asked)
        elif before is not None and after is not None:
            if self.going_back and self.links.get(before.netns, before.name) is None:
                before = dataclasses.replace(before, netns=after.netns, name=after.name)
            self.links.change(before, after, asked)

    def _is_there(self, link: Link) -> bool:
        """Whether the link of this name is the one that is meant: made by a run, or not yet removed by it."""
        found = self.links.get(link.netns, link.name)
        return found is not None and (found.kind, is_ours(found.alias)) == (link.kind, is_ours(link.alias))

    def _setting(self, _before: Setting | None, after: Setting | None, asked: str) -> None:
        if after is not None and after.value is not None:
            sysctls.write(self.namespaces, after, asked)

    def _file(self, before: File | None, after: File | None, _asked: str) -> None:
        if after is not None:
            files.write(after.path, after.content or "", after.mode or NEW_FILE)
        elif before is not None:
            files.delete(before.path)
        manager = manager_of((after or before or File("")).path)
        if manager:
            managers.reload(self.namespaces, manager)

    def _learned(self, before: Learned | None, _after: Learned | None, asked: str) -> None:
        # Going back, nobody is to learn it again.
        if before is not None:
            tenant_drift.forget(self.namespaces, self.links, before, asked)

    def _misled(self, before: Misled | None, _after: Misled | None, asked: str) -> None:
        # Going back, nobody needs them.
        if before is not None:
            tenant_drift.lead(self.namespaces, before, asked)

    def _occupied(self, before: Occupied | None, after: Occupied | None, asked: str) -> None:
        self.links.forget()
        if before is not None:
            tenant_drift.free(self.namespaces, before, asked)
        elif after is not None:
            tenant_drift.occupy(self.namespaces, after, asked)

    def _flows(self, before: Flows | None, _after: Flows | None, _asked: str) -> None:
        # Going back, there is nothing to do: a connection is tracked again with its next packet.
        if before is not None:
            conntrack.flush(self.namespaces, before.netns, before)

    def _senders(self, batch: t.Sequence[Step]) -> None:
        changes = [(t.cast(Sender, step.fact).link, t.cast("Sender | None", step.after)) for step in batch]
        port_table.write(self.namespaces, t.cast(Sender, batch[0].fact).netns, changes)

    def _rulesets(self, batch: t.Sequence[Step]) -> None:
        first = t.cast(Ruleset, batch[0].fact)
        place = (self.namespaces, first.netns, first.backend)
        changes = [(t.cast(Ruleset, step.fact), _ruleset(step.before), _ruleset(step.after)) for step in batch]
        rulesets.write(*place, [(ruleset, new.rules if new else None) for ruleset, _old, new in changes])
        try:
            for ruleset, old, new in changes:
                if ruleset.flush:
                    self._flush_changed(ruleset, old, new)
        except BaseException:
            rulesets.write(*place, [(ruleset, old.rules if old else None) for ruleset, old, _new in changes])
            raise

    def _flush_changed(self, ruleset: Ruleset, old: Ruleset | None, new: Ruleset | None) -> None:
        other = self.elsewhere.get(ruleset.identity[:4])
        if other and other.backend != ruleset.backend:
            old, new = old or other, new or other
        was, is_now = (found.rules if found else None for found in (old, new))
        unread = old is not None and was is None
        conntrack.flush_changed(self.namespaces, ruleset.netns, was, is_now, unread)


def _ruleset(fact: Fact | None) -> Ruleset | None:
    return fact if isinstance(fact, Ruleset) else None


_RUN: dict[type[t.Any], t.Callable[..., None]] = {
    Namespace: Executor._namespace,
    Link: Executor._link,
    Setting: Executor._setting,
    File: Executor._file,
    Flows: Executor._flows,
    Learned: Executor._learned,
    Misled: Executor._misled,
    Occupied: Executor._occupied,
    # A claim lives in the ledger, which is written as a whole.
    Claim: lambda *_arguments: None,
}


def _batch_key(step: Step) -> tuple[str, str, str]:
    fact = step.fact
    apart = ""
    if isinstance(fact, Address) and fact.secondary and step.after is None:
        # The kernel goes on after what it refuses: the primary one would take along a secondary one that has to stay.
        apart = fact.cidr
    if isinstance(fact, Ruleset):
        # firewalld reloads for each batch, and Docker writes its rules anew after each reload.
        apart = fact.backend if fact.backend == "firewalld" else f"{fact.purpose} {fact.backend}"
    if isinstance(fact, (Link, Namespace)):
        apart = "new" if step.before is None else "gone" if step.after is None else "there"
    kind = "request" if isinstance(fact, _REQUESTS) else type(fact).__name__
    return (kind, getattr(fact, "netns", ""), apart)
