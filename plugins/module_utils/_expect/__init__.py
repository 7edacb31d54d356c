# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must be found on a host that has booted a layout, one subject per file. PRIVATE to the collection."""
