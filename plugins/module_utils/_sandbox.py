# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What no service of ours may do, whatever else it needs: the settings of systemd that all their units share.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

#: None of these makes a mount namespace, so that they also hold for what starts before the disks are there.
SANDBOX = """\
SystemCallErrorNumber=EPERM
NoNewPrivileges=yes
ProtectClock=yes
ProtectKernelLogs=yes
IPAddressDeny=any
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
"""
