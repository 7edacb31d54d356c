# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of Carveout: read by the wheel's build, by the zipapp and by the modules."""

from __future__ import annotations

VERSION = "0.1.0"
