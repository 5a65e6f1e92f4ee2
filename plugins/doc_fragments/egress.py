# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules of this collection have in common, as documentation."""

from __future__ import annotations


class ModuleDocFragment:
    """egress: every module; egress.manage: modules that change something; egress.config: those
    that take many objects; egress.nft: those that write rules."""

    DOCUMENTATION = r"""
options: {}
requirements:
  - Linux 5.2 or later
  - python >= 3.9
  - pyroute2 >= 0.7.2
attributes:
  platform:
    description: The operating systems that the managed node may run.
    support: full
    platforms: linux
  action_group:
    description: Use C(group/netpath.egress.egress) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - netpath.egress.egress
"""

    CONFIG = r"""
options:
  config:
    description:
      - The same options, for many objects in one run. It excludes all others.
      - They are planned and applied as one change, which takes effect as a whole or not at all.
    type: list
    elements: dict
"""

    MANAGE = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and predict what would be done, without doing it.
    details:
      - The predicted RV(ignore:actions) are those that the real run then takes.
      - An object that something asked for refers to may still be missing, as another task of the same play may make it.
    support: full
  diff_mode:
    description: Returns the affected objects before and after, as YAML.
    support: full
  idempotent:
    description: A second run with the same options changes nothing and takes no action.
    support: full
notes:
  - The module needs root, or the capabilities C(CAP_NET_ADMIN) and C(CAP_SYS_ADMIN).
  - A run that fails half way puts back what it has changed so far. Two runs at once on a host wait for each other.
  - The interface that carries the default route or the SSH session is never enslaved, moved, taken down or removed.
    Such a request is refused.
"""

    NFT = r"""
options: {}
requirements:
  - nft (the package nftables) with support for JSON
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Reads only, also in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: full
  idempotent:
    description: Changes nothing.
    support: full
notes:
  - The module needs root, or the capabilities C(CAP_NET_ADMIN) and C(CAP_SYS_ADMIN).
"""
