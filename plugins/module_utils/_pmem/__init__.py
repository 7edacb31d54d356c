# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Namespaces of persistent memory on a host: what there is, and making it what a layout says. PRIVATE."""
