# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Benchmarks: ``python -m bench`` prints counts and ratios, and asserts no times."""
