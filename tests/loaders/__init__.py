# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Awkward arguments through real boot loaders into /proc/cmdline: machines of QEMU with a kernel and a tiny initrd."""
