# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every moment at which a host can lose its power: recorded disk writes replayed, and machines really cut off."""
