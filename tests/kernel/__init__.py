# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carveout's kernel model against real kernels: stock Debian kernels are booted, and what they do is compared."""
