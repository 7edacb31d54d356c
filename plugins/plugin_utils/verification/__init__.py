# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The testinfra suite: a host against its layout, by the shared expectations and by raw reads of its own.

pytest --pyargs ansible_collections.carveout.memory.plugins.plugin_utils.verification
    --hosts ansible://all --ansible-inventory INVENTORY [--carveout-layouts DIRECTORY]
"""
