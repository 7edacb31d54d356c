# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What verification found on many hosts, as one report: text, JSON, JUnit XML, and a page; and metrics of each host."""

from __future__ import annotations
