# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: what was there before our first change, which network needs which setting, which namespace has what.

Objects that can carry our mark need no entry. The ledger is for the rest: sysctls, files, fields of
somebody else's links, addresses and routes among somebody else's.
"""

from __future__ import annotations

import dataclasses
import types
import typing as t
from dataclasses import dataclass, field

from .errors import ConflictError
from .fact_data import UnknownFactError, from_data, to_data
from .model import Assignment, Claim, Fact, Identity, Link
from .sealed import seal, unseal

VERSION = 1
_KEYS = {"version", "originals", "claims", "assignments"}
PATH = "/var/lib/netpath/ledger.json"
_NONE: t.Mapping[t.Any, t.Any] = types.MappingProxyType({})


@dataclass(frozen=True)
class Ledger:
    """originals: what an identity was before us, None for what did not exist. Never changed in place.

    An identity with another's words and one more is a note on that: the network that an address or route was added for.
    """

    originals: t.Mapping[Identity, Fact | None] = field(default_factory=dict)
    claims: t.Mapping[Identity, Claim] = field(default_factory=dict)
    assignments: t.Mapping[str, Assignment] = field(default_factory=dict)

    def recorded(self, identity: Identity, original: Fact | None) -> Ledger:
        """With an original added; a later one never replaces an earlier one, but may add fields of a link."""
        known = self.originals.get(identity)
        if identity in self.originals and not (isinstance(known, Link) and isinstance(original, Link)):
            return self
        if isinstance(known, Link) and isinstance(original, Link):
            original = _first_seen(known, original)
        return self.edited("originals", put={identity: original})

    def forgotten(self, identity: Identity) -> Ledger:
        """Without an original, and the notes on it."""
        return self.edited("originals", drop=self.beginning_with(identity))

    def claimed(self, claim: Claim) -> Ledger:
        return self.edited("claims", put={claim.identity: claim})

    def unclaimed(self, claim: Claim) -> Ledger:
        return self.edited("claims", drop=[claim.identity])

    def without_namespace(self, netns: str) -> Ledger:
        """Without anything inside a namespace that is gone."""
        claims = [identity for identity, claim in self.claims.items() if claim.netns == netns]
        left = self.edited("originals", drop=self.within(netns)).edited("claims", drop=claims)
        return left.edited("assignments", drop=[netns])

    def assigned(self, assignments: t.Iterable[Assignment]) -> Ledger:
        """With what namespaces have from now on. A MAC that is not given stays."""
        new = {}
        for one in assignments:
            there = self.assignments.get(one.namespace)
            mac = one.mac or (there.mac if there else None)
            new[one.namespace] = dataclasses.replace(one, mac=mac)
        return self.edited("assignments", put=new)

    def unassigned(self, network: str = "", link: str = "") -> Ledger:
        """Without what namespaces of a network, or the one behind a pair's end on the host, had."""
        there = self.assignments.items()
        gone = [name for name, one in there if (one.network == network if network else one.link == link)]
        return self.edited("assignments", drop=gone)

    def edited(self, part: str, put: t.Mapping[t.Any, t.Any] = _NONE, drop: t.Collection[t.Any] = ()) -> Ledger:
        """With other entries of a part, which is the name of a field."""
        there = getattr(self, part)
        left = {key: value for key, value in there.items() if key not in drop} if drop else there
        return dataclasses.replace(self, **{part: {**left, **put}})

    def beginning_with(self, words: Identity) -> set[Identity]:
        """Identities of originals that begin with these words."""
        return {identity for identity in self.originals if identity[: len(words)] == words}

    def within(self, netns: str) -> set[Identity]:
        """Identities of originals in a namespace."""
        return {identity for identity in self.originals if identity[0] != "file" and identity[1] == netns}

    def claims_of(self, user: str, netns: str, start: str = "") -> list[Claim]:
        """A user's claims on keys that start so."""
        of_user = [claim for claim in self.claims.values() if (claim.user, claim.netns) == (user, netns)]
        return [claim for claim in of_user if claim.key.startswith(start)]

    def to_json(self) -> str:
        return seal(
            {
                "version": VERSION,
                "originals": [
                    {"identity": list(identity), "original": to_data(fact)}
                    for identity, fact in sorted(self.originals.items())
                ],
                "claims": [to_data(claim) for _identity, claim in sorted(self.claims.items())],
                "assignments": [to_data(one) for _name, one in sorted(self.assignments.items())],
            },
            # Of each namespace it has an entry, and a host may have thousands.
            indent=None,
        )


EMPTY = Ledger()


class Draft(Ledger):
    """A ledger that its methods change in place: a plan forgets thousands of entries, one by one."""

    _index: dict[tuple[str, ...], set[Identity]]

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(dict(ledger.originals), dict(ledger.claims), dict(ledger.assignments))
        object.__setattr__(self, "_index", {})
        for identity in self.originals:
            for key in _index_keys(identity):
                self._index.setdefault(key, set()).add(identity)

    def finished(self) -> Ledger:
        return Ledger(self.originals, self.claims, self.assignments)

    def edited(self, part: str, put: t.Mapping[t.Any, t.Any] = _NONE, drop: t.Collection[t.Any] = ()) -> Ledger:
        there = getattr(self, part)
        for identity in [key for key in drop if key in there]:
            del there[identity]
            for key in _index_keys(identity) if part == "originals" else ():
                self._index[key].discard(identity)
        there.update(put)
        for identity in put if part == "originals" else ():
            for key in _index_keys(identity):
                self._index.setdefault(key, set()).add(identity)
        return self

    def beginning_with(self, words: Identity) -> set[Identity]:
        return set(self._index.get(words, ()))

    def within(self, netns: str) -> set[Identity]:
        return set(self._index.get(("", netns), ()))


def _index_keys(identity: Identity) -> t.Iterator[tuple[str, ...]]:
    """Each beginning of an identity, and the namespace that it is in."""
    for length in range(1, len(identity) + 1):
        yield identity[:length]
    if identity[0] != "file":
        yield ("", identity[1])


def union(first: Ledger, second: Ledger) -> Ledger:
    """What both know, second's word first: kept on disk while a run is under way."""
    return Ledger(
        {**first.originals, **second.originals},
        {**first.claims, **second.claims},
        {**first.assignments, **second.assignments},
    )


class DamagedError(ConflictError):
    """The ledger on disk is not what was written."""


def from_json(text: str) -> Ledger:
    """Read a ledger. Errors: DamagedError; ConflictError where it is of a later version."""
    try:
        data = unseal(text)
        if isinstance(data["version"], bool) or data["version"] != VERSION:
            raise _later(f"it has version {data['version']}, this release reads {VERSION}")
        unknown = sorted(set(data) - _KEYS)
        if unknown:
            raise _later(f"it has {unknown[0]!r}, which this release does not know")
        originals = dict(_original(item) for item in _listed(data["originals"]))
        claims = [_claim(item) for item in _listed(data["claims"])]
        # Release 1.0.0 wrote none.
        assigned = [_assignment(item) for item in _listed(data.get("assignments", []))]
        return Ledger(
            originals,
            {claim.identity: claim for claim in claims},
            {one.namespace: one for one in assigned},
        )
    except UnknownFactError as error:
        raise _later(f"{error}, which this release does not know") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(
            f"read {PATH}",
            f"it is damaged ({type(error).__name__}: {error})",
            "Restore it from a backup, or move it away: then settings can no longer be put back to what they were",
        ).for_all() from error


def _later(found: str) -> ConflictError:
    """It is never moved away: what was there before the first change is in it alone."""
    return ConflictError(f"read {PATH}", found, "Run the release that wrote it, or a later one").for_all()


def _listed(data: t.Any) -> list[t.Any]:
    if not isinstance(data, list):
        raise TypeError("no list where one must be")
    return data


def _claim(item: t.Any) -> Claim:
    claim = from_data(item)
    if not isinstance(claim, Claim):
        raise TypeError(f"{claim} is no claim")
    return claim


def _assignment(item: t.Any) -> Assignment:
    one = from_data(item)
    words = (one.namespace, one.network, one.link, one.mac or "", *one.addresses) if isinstance(one, Assignment) else ()
    if not words or not all(isinstance(word, str) for word in words):
        raise TypeError(f"{one} is not an assignment")
    return t.cast(Assignment, one)


def _original(item: t.Any) -> tuple[Identity, Fact | None]:
    identity, fact = tuple(_listed(item["identity"])), from_data(item["original"])
    if len(identity) < 2 or not all(isinstance(word, str) for word in identity):
        raise ValueError(f"{identity} is no identity")
    if fact is not None and fact.identity != identity:
        raise ValueError(f"{identity} stands for {fact.identity}")
    return identity, fact


def _first_seen(known: Link, later: Link) -> Link:
    missing = {
        item.name: getattr(later, item.name)
        for item in dataclasses.fields(Link)
        if getattr(known, item.name) is None and getattr(later, item.name) is not None
    }
    return dataclasses.replace(known, **missing)
