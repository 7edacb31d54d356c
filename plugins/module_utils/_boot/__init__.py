# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot loaders: read entries, compute the change, apply it. PRIVATE to the collection."""
