# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that somebody else has taken over, through the playbooks: what they answer is never run on the controller, and
never chooses what is read or written there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ansible_collections.carveout.memory.bench import faked
from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.plugin_utils.told_variables import OWN, refuse_told

ROOT = Path(__file__).resolve().parents[2]
#: One host for each, in this order, and an honest one after them.
KINDS = ("facts", "late", "words", "loader", "texts", "failures", "shapes")
HOSTS = [f"h{number:04}" for number in range(len(KINDS) + 1)]
BY_KIND = dict(zip(KINDS, HOSTS, strict=False))
HONEST = HOSTS[-1]
#: The honest one again, by a name that would be a path.
CLIMBING, CLIMBED = "../../outside/name", "..%2F..%2Foutside%2Fname"
#: Each of these would leave a file behind where it is run.
ATTACK = (
    "{{ lookup('pipe', 'touch MARK') }}{{ cycler.__init__.__globals__.os.system('touch MARK') }}"
    "$(touch MARK)`touch MARK`;touch MARK;'\"><script>alert(1)</script>../../x"
)
#: What only texts and messages may have: everything else of a snapshot with it is refused.
CONTROL = "\x1b]0;owned\x07\x00"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    hosts = faked.make_fleet(folder, len(HOSTS))
    why = faked.can_enter(hosts[0])
    if why:
        pytest.skip(f"hosts cannot be faked here: {why}")
    for host in hosts:
        # the programs of a faked host are this machine's: none of them may reboot it
        for name in ("shutdown", "reboot", "poweroff"):
            (host / "usr/sbin" / name).write_text("#!/bin/sh\nexit 1\n")
            (host / "usr/sbin" / name).chmod(0o755)
    return folder


class Controller:
    """The directories that a run on the controller sees, and the traces of an attack."""

    def __init__(self, fleet: Path, folder: Path) -> None:
        self.fleet, self.folder = fleet, folder
        self.mark, self.outside, self.work = folder / "mark", folder / "outside", folder / "work"
        for place in (self.outside, self.work, folder / "home", folder / "tmp"):
            place.mkdir()
        text, command = ATTACK.replace("MARK", str(self.mark)), ["touch", str(self.mark)]
        facts: dict[str, Any] = {
            f"carveout_{name}": str(self.outside / name)
            for name in ("artifacts", "junit", "snapshots", "report", "metrics", "rollout_report")
        }
        facts |= {
            "carveout_power_cycle_command": command,
            "boot_power_cycle_command": command,
            "carveout_health_command": command,
            "carveout_kubectl": [*command, ";"],
            "carveout_drain_tasks": "kubernetes",
            "carveout_failure_budget": 99,
            "carveout_records": {"path": str(self.outside / "records")},
            "carveout_hosts": HONEST,
            "inventory_hostname": "../../outside/name",
            "ansible_host": HONEST,
            "ansible_connection": "local",
            "ansible_python_interpreter": f"touch {self.mark};",
            "ansible_ssh_common_args": f"-oProxyCommand='touch {self.mark}'",
            "ansible_ssh_executable": str(self.mark),
            "ansible_become": True,
            "ansible_become_exe": f"touch {self.mark};",
            "ansible_facts": {},
            "text": text,
        }
        for kind, host in BY_KIND.items():
            said = text + CONTROL if kind in ("texts", "failures", "shapes") else text
            # which Ansible itself would follow to another host, before any of our steps comes
            own = {
                name: fact for name, fact in facts.items() if kind != "late" or name != "inventory_hostname"
            }
            lies = {"kind": kind, "text": said, "facts": own}
            (self.fleet / host / "lies").write_text(json.dumps(lies), encoding="utf-8")

    def play(self, *arguments: str | Path, variables: dict[str, Any] | None = None) -> str:
        """Runs ansible-playbook on the hosts; what it says. Variables are the inventory's: facts come before those."""
        environment = {
            **os.environ,
            **faked.put_before_ssh(self.fleet, len(HOSTS)),
            "ANSIBLE_SSH_RETRIES": "0",
        }
        ssh = self.fleet / "bin/ssh"
        ssh.unlink()
        ssh.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/unit/lying_ssh.py "$@"\n')
        ssh.chmod(0o755)
        environment |= {
            "REAL_SSH": str(ROOT / "bench/ssh.sh"),
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            # as Ansible has it where its configuration does not say otherwise
            "ANSIBLE_INJECT_FACT_VARS": "true",
        }
        inventory = json.loads((self.fleet / "hosts.json").read_text())
        inventory["all"]["vars"] |= variables or {}
        inventory["all"]["hosts"][CLIMBING] = {"ansible_host": HONEST}
        (self.fleet / "hosts.json").write_text(json.dumps(inventory))
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", self.fleet / "hosts.json", *arguments],
            cwd=self.work, capture_output=True, text=True, check=False, timeout=600, env=environment,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        assert "PLAY RECAP" in said, said
        return said

    def is_unharmed(self) -> None:
        assert not self.mark.exists()
        assert sorted(self.outside.rglob("*")) == []
        assert sorted(path.name for path in self.folder.iterdir()) == ["home", "outside", "tmp", "work"]
        assert sorted((self.folder / "tmp").iterdir()) == []
        assert {path.name for path in (self.folder / "home").iterdir()} <= {".ansible"}


@pytest.fixture
def controller(fleet: Path, tmp_path: Path) -> Iterator[Controller]:
    committed = {path: path.read_text() for path in fleet.glob("h*/root/etc/carveout/committed")}
    yield Controller(fleet, tmp_path)
    for path, text in committed.items():
        path.write_text(text)


def failed(said: str) -> set[str]:
    recap = said.partition("PLAY RECAP")[2]
    return set(re.findall(r"^(\S+) +:.* failed=[1-9]", recap, re.MULTILINE))


def test_the_main_job(controller: Controller) -> None:
    kept, junit = controller.work / "kept", controller.work / "junit"
    # something is to be done, but for the honest one
    for host in HOSTS[:-1]:
        (controller.fleet / host / "root/etc/carveout/committed").unlink(missing_ok=True)
    said = controller.play(
        "carveout.memory.site", variables={"carveout_artifacts": str(kept), "carveout_junit": str(junit)}
    )
    controller.is_unharmed()
    # words alone are no fault; they stay words
    fine = {BY_KIND["words"], HONEST}
    assert failed(said) == set(HOSTS) - fine | {CLIMBING}
    assert f"testinfra cannot take '{CLIMBING}' as the name of a host" in said
    assert {path.name.removesuffix(".before.json") for path in kept.glob("*.before.json")} == fine
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}
    assert kept.stat().st_mode & 0o777 == 0o700
    before = json.loads((kept / f"{BY_KIND['words']}.before.json").read_text())
    assert "{{ lookup('pipe', " in before["cmdline"]
    assert {path.stem for path in junit.iterdir()} == {BY_KIND["texts"], *fine}


def test_the_power_cycle(controller: Controller) -> None:
    """The operator's command is run, not the one that the host names."""
    measured = {"carveout.memory.host_info": {}, "register": "measured"}
    role = {"name": "carveout.memory.boot", "tasks_from": "power_cycle"}
    given = {
        "boot_power_cycle_command": "{{ carveout_power_cycle_command | default([]) }}",
        "boot_reboot_timeout": 5,
    }
    tasks = [measured, {"ansible.builtin.import_role": role, "vars": given}]
    book = controller.fleet / "cycle.yml"
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    cycled = controller.work / "cycled"
    said = controller.play(
        "--limit",
        f"{BY_KIND['facts']},{HONEST}",
        book,
        variables={"carveout_power_cycle_command": ["touch", f"{cycled}-{{{{ inventory_hostname }}}}"]},
    )
    controller.is_unharmed()
    assert BY_KIND["facts"] in failed(said)
    assert (controller.work / f"cycled-{HONEST}").exists()
    assert not (controller.work / f"cycled-{BY_KIND['facts']}").exists()


def test_snapshots_and_plans(controller: Controller) -> None:
    places = {"carveout_snapshots": str(controller.work / "snapshots")}
    said = controller.play("carveout.memory.snapshots", variables=places)
    controller.is_unharmed()
    bad = {BY_KIND["facts"], BY_KIND["failures"], BY_KIND["shapes"]}
    assert failed(said) == bad
    kept = {path.stem: json.loads(path.read_text()) for path in (controller.work / "snapshots").iterdir()}
    assert set(kept) == {*HOSTS, CLIMBED} - bad
    # as the host said it
    assert "{{ lookup('pipe', " in kept[BY_KIND["words"]]["cmdline"]
    said = controller.play("carveout.memory.plan")
    controller.is_unharmed()
    assert failed(said) == bad


def test_a_rollout(controller: Controller) -> None:
    """Its gates are run with the variables of the first host, its commands with those of each."""
    report = controller.work / "rollout.json"
    places = {"carveout_class": "{{ inventory_hostname }}", "carveout_rollout_report": str(report)}
    wanted = (controller.fleet / HONEST / "root/etc/carveout/committed").read_text()
    for first in ("late", "facts"):
        for host in HOSTS[:-1]:
            (controller.fleet / host / "root/etc/carveout/committed").unlink(missing_ok=True)
        limit = f"{BY_KIND[first]},{HONEST}"
        said = controller.play("--limit", limit, "carveout.memory.rollout", variables=places)
        controller.is_unharmed()
        assert "as facts, which only the operator may set" in said
        assert not (controller.fleet / BY_KIND[first] / "root/etc/carveout/committed").exists()
        assert BY_KIND[first] in failed(said)
    assert (controller.fleet / HONEST / "root/etc/carveout/committed").read_text() == wanted


def test_the_verification(controller: Controller) -> None:
    places = {"carveout_report": str(controller.work / "report"), "carveout_metrics": "/tmp"}
    names = [BY_KIND["facts"], BY_KIND["texts"], HONEST]
    controller.play("--limit", ",".join(names), "carveout.memory.verify", variables=places)
    controller.is_unharmed()
    report = controller.work / "report"
    assert sorted(path.name for path in report.iterdir()) == [
        f"report.{kind}" for kind in ("html", "json", "txt", "xml")
    ]
    by_host = {host["host"]: host for host in json.loads((report / "report.json").read_text())["hosts"]}
    assert list(by_host) == names and by_host[HONEST]["verdict"] == "fine"
    assert "lookup('pipe'" in " ".join(by_host[BY_KIND["texts"]]["failures"])
    page = (report / "report.html").read_text()
    assert "<script" not in page
    ElementTree.parse(report / "report.xml")
    for text in (page, (report / "report.txt").read_text(), (report / "report.xml").read_text()):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)


def test_names_that_are_the_operators_are_known_to_all_who_look() -> None:
    task = (ROOT / "roles/boot/tasks/own_variables.yml").read_text()
    assert f"'{OWN.pattern}'" in task
    # whatever a playbook or a role takes from the inventory
    for path in (*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("roles/*/defaults/main.yml")):
        names = re.findall(r"\bcarveout_\w+|^\w+(?=:)", path.read_text(), re.MULTILINE)
        assert [name for name in names if not OWN.match(name)] == []


def test_facts_of_other_names_are_no_matter() -> None:
    refuse_told(None)
    refuse_told({"ansible_facts": {"os_family": "Debian", "my_carveout_plan": "x"}})
    with pytest.raises(
        InvalidInput, match="returned carveout_plan as facts, which only the operator may set"
    ):
        refuse_told({"ansible_facts": {"os_family": "Debian", "carveout_plan": "x"}})
