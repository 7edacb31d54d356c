# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The suite goes to a host as the task does: variables from Ansible's own connections."""

from __future__ import annotations

import getpass
import os
from typing import Any

import pytest
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import become_loader, connection_loader

from ansible_collections.carveout.memory.plugins.plugin_utils.verification.connection import (
    connection_variables,
    needs_ansible,
)


def connection(kind: str, become: str = "", **variables: Any) -> Any:
    found = connection_loader.get(kind, PlayContext(), os.devnull)
    found.set_options(var_options=variables)
    if become:
        plugin = become_loader.get(become)
        plugin.set_options(var_options=variables)
        found.set_become_plugin(plugin)
    return found


def rendered(value: Any) -> Any:
    return value.replace("{{ key }}", "/keys/one") if isinstance(value, str) else value


def test_ssh_with_all_its_options() -> None:
    variables = {
        "ansible_host": "192.0.2.7",
        "ansible_port": 2222,
        "ansible_user": "admin",
        "ansible_ssh_common_args": "-o UserKnownHostsFile=/k",
        "ansible_ssh_private_key_file": "/keys/one",
        "unrelated": "kept out",
    }
    raw = dict(variables, ansible_ssh_private_key_file="{{ key }}")
    link = connection("ssh", "sudo", **variables)
    found = connection_variables(link, raw, rendered)
    common = found.pop("ansible_ssh_common_args")
    assert common.endswith(" -o UserKnownHostsFile=/k")
    assert found == {
        "ansible_connection": "ssh",
        "ansible_host": "192.0.2.7",
        "ansible_port": 2222,
        "ansible_user": "admin",
        "ansible_ssh_private_key_file": "/keys/one",
        "ansible_become": True,
        "ansible_become_user": "root",
    }
    assert needs_ansible(link) is False


@pytest.mark.parametrize("told", [False, "false", True])
def test_no_become_to_the_user_that_one_is(told: Any) -> None:
    variables = {"ansible_user": "root", "ansible_host": "h"}
    link = connection("ssh", "sudo" if told is True else "", **variables)
    found = connection_variables(link, dict(variables, ansible_become=told), rendered)
    assert "ansible_become" not in found


def test_local() -> None:
    link = connection("local")
    found = connection_variables(link, {"ansible_connection": "ansible.builtin.local"}, rendered)
    assert found == {"ansible_connection": "local"}
    sudo = connection_variables(connection("local", "sudo"), {}, rendered)
    assert sudo.get("ansible_become", False) is (getpass.getuser() != "root")


def test_what_testinfra_cannot_do_itself_is_left_to_ansible() -> None:
    assert needs_ansible(connection("ssh", "su")) is True
    assert needs_ansible(connection("ssh", "sudo", ansible_become_pass="x")) is True
    assert needs_ansible(connection("psrp")) is True
    assert needs_ansible(connection("local")) is False
