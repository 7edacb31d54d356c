# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tenants of a carved host: what opens, maps and fills its memory, and virtual machines that live in it."""
