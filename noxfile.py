# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# /// script
# dependencies = ["nox>=2025.02.09", "antsibull-nox"]
# ///
"""The sessions that collections of the Ansible community share, as antsibull-nox.toml has them."""

import sys

import antsibull_nox
import nox

antsibull_nox.load_antsibull_nox_toml()

# Run by its path, it is nox.
if __name__ == "__main__":
    sys.exit(nox.main())
