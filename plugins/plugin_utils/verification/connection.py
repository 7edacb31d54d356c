# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How testinfra reaches the host of an Ansible task: the way that Ansible itself goes, as literal variables.

Taken from the task's connection and not from the inventory, so that templates are rendered and options of the
command line, of ansible.cfg and of the environment count, whatever the inventory is.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any

#: Connections that testinfra makes itself, one command of Ansible's for each of the others' commands.
_OWN = ("ssh", "local")
_PREFIXES = ("ansible_ssh_", "ansible_become", "ansible_docker_", "ansible_podman_", "ansible_paramiko_")
_NAMES = (
    "ansible_connection", "ansible_host", "ansible_port", "ansible_user", "ansible_password",
    "ansible_private_key_file", "ansible_python_interpreter",
)  # fmt: skip


def transport(connection: Any) -> str:
    """The connection plugin's short name."""
    return str(connection.transport).rpartition(".")[2]


def needs_ansible(connection: Any) -> bool:
    """Whether only Ansible itself can run commands there: testinfra knows plain sudo, no other become."""
    become = connection.become
    if become is None:
        return transport(connection) not in _OWN
    return (
        transport(connection) not in _OWN
        or become.name.rpartition(".")[2] != "sudo"
        or bool(become.get_option("become_pass"))
    )


def connection_variables(
    connection: Any, task_vars: dict[str, Any], render: Callable[[Any], Any]
) -> dict[str, Any]:
    """Variables of one host for an inventory that testinfra reads."""
    variables: dict[str, Any] = {
        name: render(value)
        for name, value in task_vars.items()
        if name in _NAMES or name.startswith(_PREFIXES)
    }
    kind = transport(connection)
    user = getpass.getuser()
    if kind == "ssh":
        user = connection.get_option("remote_user") or user
        options = {
            "ansible_host": connection.get_option("host"),
            "ansible_port": connection.get_option("port"),
            "ansible_user": connection.get_option("remote_user"),
            "ansible_ssh_private_key_file": connection.get_option("private_key_file"),
            "ansible_ssh_common_args": " ".join(
                part
                for part in (connection.get_option("ssh_args"), connection.get_option("ssh_common_args"))
                if part
            ),
            "ansible_ssh_extra_args": connection.get_option("ssh_extra_args"),
            "ansible_ssh_pass": connection.get_option("password"),
        }
        variables.update({name: value for name, value in options.items() if value})
    if kind in _OWN:
        variables["ansible_connection"] = kind
    become = connection.become
    target = (become.get_option("become_user") or "root") if become is not None else user
    # as Ansible does: no become to the user that one is already; testinfra takes any text, "false" too, for a yes
    variables.pop("ansible_become", None)
    if become is not None and target != user:
        variables["ansible_become"] = True
        variables["ansible_become_user"] = target
    return {name: value for name, value in variables.items() if isinstance(value, (str, int, bool))}
