# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Malformed input through the real command: no traceback, and every error says something.

``python -m tests.fuzz --count 100000`` prints its seed; ``--seed S --case N`` shows one case again.
"""
