# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text that the documentation of several modules shares."""

from __future__ import annotations


class ModuleDocFragment:
    """C(extends_documentation_fragment: [carveout.memory.attributes]); a module says itself what differs."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return changed status prediction without modifying the host.
  diff_mode:
    support: full
    description: Returns what was there before and what is there after.
  idempotent:
    support: full
    description: A second run with the same options changes nothing.
"""

    # for modules that only read
    READS = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed, so check mode makes no difference.
  diff_mode:
    support: none
    description: Nothing is ever changed, so there is nothing to show.
  idempotent:
    support: full
    description: The host is only read.
"""

    # for modules of which the controller does the work
    CONTROLLER = r"""
options: {}
attributes:
  platform:
    support: full
    platforms: posix
    description: Hosts that this works for.
"""
