# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of nftables that is written as a whole in nft's own words, and sealed by a digest of what became of them."""

from __future__ import annotations

import hashlib
import typing as t

from ..errors import EgressError, KernelError, UnsupportedError
from ..model import MARK
from . import nft_listing, programs
from .nft import code_in, run_words
from .nft_listing import SEAL, Listing

if t.TYPE_CHECKING:
    from .namespaces import Namespaces


class SealError(EgressError):
    """The table was written, which took effect, and could not be sealed."""


class SealedTable(t.NamedTuple):
    """family: inet or bridge. needs: what asks for it, for errors. without: how to do without it."""

    family: str
    name: str
    needs: str
    without: str

    def read(self, namespaces: Namespaces, netns: str) -> Listing | None:
        """None where it is not there."""
        return nft_listing.read(namespaces, netns, self.family, self.name)

    def is_sound(self, listing: Listing | None, rules: str) -> bool:
        """Whether its rules are those, and nobody changed what became of them."""
        return listing is not None and listing.seal == _seal(rules, listing)

    def refusal(self, namespaces: Namespaces, netns: str, rules: str) -> EgressError | None:
        """Why the host would not take these rules, found out without a change."""
        asked = f"write the table {self.family} {self.name} for {self.needs}"
        if not programs.find("nft"):
            return UnsupportedError(
                asked, "the program nft is missing", f"Install the package nftables, or {self.without}"
            )
        done = run_words(namespaces, netns, asked, self._anew(rules, ()), check=True)
        if not done.returncode:
            return None
        found = " ".join(done.stderr.split())[:300]
        advice = f"It takes Linux 5.6 with nf_tables for inet and bridge, and nft 1.0.6. Or {self.without}"
        return UnsupportedError(asked, f"nft says {found}", advice)

    def write(self, namespaces: Namespaces, netns: str, rules: str, elements: t.Iterable[str]) -> None:
        """Replace the table at once. Errors: KernelError, and nothing was changed; SealError, and it was."""
        self.run(namespaces, netns, self._anew(rules, elements))
        try:
            self._put_seal(namespaces, netns, rules)
        except (EgressError, OSError) as error:
            asked = f"seal table {self.family} {self.name}"
            raise SealError(asked, str(error)) from error

    def _put_seal(self, namespaces: Namespaces, netns: str, rules: str) -> None:
        listing = self.read(namespaces, netns)
        if listing is not None:
            # Only now can the digest be known. Without it, the next run writes the table once more.
            seal = f'add rule {self.family} {self.name} {SEAL} return comment "{_seal(rules, listing)}"'
            self.run(namespaces, netns, [seal])

    def delete(self, namespaces: Namespaces, netns: str) -> None:
        self.run(namespaces, netns, [f"add table {self.family} {self.name}", f"delete table {self.family} {self.name}"])

    def run(self, namespaces: Namespaces, netns: str, lines: t.Iterable[str]) -> None:
        """One transaction. Errors: KernelError; UnsupportedError where nft is missing."""
        asked = f"change table {self.family} {self.name}"
        done = run_words(namespaces, netns, asked, lines)
        if done.returncode:
            found = " ".join(done.stderr.split())[:500]
            raise KernelError(asked, f"nft says {found}", code_in(found))

    def change(self, verb: str, set_name: str, elements: t.Collection[str]) -> list[str]:
        """Lines that add elements to a set, or delete them."""
        here = f"{verb} element {self.family} {self.name} {set_name}"
        return [f"{here} {{ {', '.join(elements)} }}"] if elements else []

    def _anew(self, rules: str, elements: t.Iterable[str]) -> list[str]:
        table = f"table {self.family} {self.name}"
        return [f"add {table}", f"delete {table}", f"{table} {{\n{rules}\nchain {SEAL} {{\n}}\n}}", *elements]


def _seal(rules: str, listing: Listing) -> str:
    return f"{MARK}{hashlib.sha256(rules.encode()).hexdigest()[:16]}{listing.digest}"


def quoted(interface: str) -> str:
    """A name of an interface in nft's words, where a bare "*" at the end is a wildcard."""
    escaped = interface[:-1] + "\\*" if interface.endswith("*") else interface
    return f'"{escaped}"'
