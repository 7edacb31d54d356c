# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A rollout over many hosts: waves, gates between them, and one report. Everything here runs on the controller."""

from __future__ import annotations
