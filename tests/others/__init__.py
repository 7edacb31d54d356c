# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What others own on a host: every byte is there after Carveout came, changed and went. On the lab's virtual host."""
