# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A device that is for a service: what a plan may say, the drop-ins that follow, and that they are held to."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.module_utils._expect.files import unit_access
from ansible_collections.carveout.memory.plugins.module_utils._host.model import Host
from ansible_collections.carveout.memory.plugins.module_utils._host_changes import (
    apply_absent,
    apply_present,
    plan_absent,
    plan_present,
    up_to_date,
)
from ansible_collections.carveout.memory.plugins.module_utils._host_files import known_files
from ansible_collections.carveout.memory.plugins.module_utils._layout import UNIT, Device, Layout, Memory
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._ranges import Range
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem
from ansible_collections.carveout.memory.plugins.module_utils._tenant_units import (
    device_unit,
    drop_in_path,
    drop_ins,
    is_drop_in,
)
from ansible_collections.carveout.memory.plugins.module_utils._units import MIB
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from tests.unit.test_plan import HOST

DIGEST = "0" * 64


def plan(*devices: dict[str, Any]) -> dict[str, Any]:
    pool = {"mechanism": "dax", "nodes": {1: "1GiB"}, "devices": list(devices)}
    return {"version": 1, "kernel": {"memory": "1GiB"}, "pools": {"a": pool}}


def wish(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "size": "64MiB", **keys}


def layout(**units: Sequence[str]) -> Layout:
    """A layout with these devices, each for these services."""
    devices = tuple(
        Device(
            name.replace("_", "-"), "a", 0, 2 * MIB, (Range(0, 2 * MIB),), f"pools.a.devices[{index}]",
            units=tuple(of),
        )
        for index, (name, of) in enumerate(units.items())
    )  # fmt: skip
    return Layout({}, "6.12", ("a=1",), (), devices, (), Memory(), {})


def test_a_device_is_for_one_service_or_several() -> None:
    wanted = plan(
        wish("vm-a", unit="qemu-vm-a.service"),
        wish("vm-b", unit=["z.service", "qemu@b:1.service"], mode="0660"),
        wish("vm-c"),
    )
    made = make_layout(validated_plan(wanted), HOST)
    assert [device.units for device in made.devices] == [
        ("qemu-vm-a.service",), ("qemu@b:1.service", "z.service"), (),
    ]  # fmt: skip
    assert Layout.from_json(made.to_json()) == made
    # kept byte for byte as long as the services are the same, in whatever order the plan has them
    assert make_layout(validated_plan(wanted), HOST, made) is made
    other = make_layout(validated_plan(plan(wish("vm-a"), *wanted["pools"]["a"]["devices"][1:])), HOST, made)
    assert other.id != made.id and other.arguments == made.arguments
    assert [device.extents for device in other.devices] == [device.extents for device in made.devices]


@pytest.mark.parametrize(
    ("keys", "place", "code", "words"),
    [
        ({"unit": "qemu-vm-a"}, "unit", "value", "'qemu-vm-a' is not a systemd service, such as"),
        ({"unit": "../../x.service"}, "unit", "value", "'../../x.service' is not"),
        ({"unit": ".service"}, "unit", "value", "'.service' is not"),
        ({"unit": "a b.service"}, "unit", "value", "'a b.service' is not"),
        ({"unit": "qemu@.service"}, "unit", "value", "'qemu@.service' is not"),
        ({"unit": "a.scope"}, "unit", "value", "'a.scope' is not"),
        ({"unit": "a.service\n"}, "unit", "unit-invalid", "is not a service: letters"),
        ({"unit": "a" * 200 + ".service"}, "unit", "value", "is too long"),
        ({"unit": 5}, "unit", "type", "5 is a number; expected is a systemd service"),
        ({"unit": {"a": 1}}, "unit", "type", "is a mapping; expected is a systemd service"),
        ({"unit": []}, "unit", "empty", "at least one entry is needed"),
        ({"unit": ["a.service", 7]}, "unit[1]", "type", "7 is a number"),
        ({"unit": ["a.service", "a.service"]}, "unit", "unit-duplicate", "a.service stands twice"),
        ({"unit": "systemd-udevd.service"}, "unit", "unit-invalid", "must keep all its devices"),
        ({"unit": "carveout-dax.service"}, "unit", "unit-invalid", "must keep all its devices"),
        ({"unit": "a.service", "mode": "0666"}, "unit", "mode-open", "its mode 0666 lets everybody"),
        ({"unit": "a.service", "mode": "0604"}, "unit", "mode-open", "end the mode in 0"),
    ],
)
def test_bad_services(keys: dict[str, Any], place: str, code: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        validated_plan(plan(wish("vm-a", **keys)))
    found = {(p.path, p.code): p.message for p in caught.value.problems}
    assert list(found) == [(f"pools.a.devices[0].{place}", code)]
    assert words in found[f"pools.a.devices[0].{place}", code]


@given(
    st.text(alphabet="aA0@._-:/\\ \n%$~", max_size=12).map(lambda text: text + ".service")
    | st.text(max_size=20)
)
def test_no_name_of_a_service_is_more_than_a_name(name: str) -> None:
    try:
        (device,) = validated_plan(plan(wish("vm-a", unit=name))).pools[0].devices
    except InvalidInput:
        return
    assert device.units == (name,) and UNIT.fullmatch(name)
    (path,) = drop_ins(layout(vm_a=device.units))
    assert Path(path).parts[:4] == ("/", "etc", "systemd", "system") and len(Path(path).parts) == 6
    assert is_drop_in(path) and "\n" not in path


def test_a_drop_in_gives_all_devices_of_a_service_and_orders_it_after_them() -> None:
    texts = drop_ins(layout(vm_b=["b.service", "a.service"], vm_a=["a.service"], vm_c=[]))
    assert list(texts) == [drop_in_path("a.service"), drop_in_path("b.service")]
    assert texts[drop_in_path("a.service")].splitlines()[1:] == [
        "[Unit]",
        r"Requires=dev-carveout-vm\x2da.device dev-carveout-vm\x2db.device",
        r"After=carveout.target dev-carveout-vm\x2da.device dev-carveout-vm\x2db.device",
        "",
        "[Service]",
        "DeviceAllow=/dev/carveout/vm-a rw",
        "DeviceAllow=/dev/carveout/vm-b rw",
    ]
    assert "vm-a" not in texts[drop_in_path("b.service")].replace("\\x2d", "-")


def test_systemd_understands_it(tmp_path: Path) -> None:
    analyze, escape = shutil.which("systemd-analyze"), shutil.which("systemd-escape")
    if analyze is None or escape is None:
        pytest.skip("no systemd here")
    for name in ("vm-a", "a.b_c-D.1", "x"):
        done = subprocess.run(
            [escape, "--path", "--suffix=device", f"/dev/carveout/{name}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert device_unit(name) == done.stdout.strip()
    (text,) = drop_ins(layout(vm_a=["tenant.service"])).values()
    (tmp_path / "tenant.service").write_text("[Service]\nExecStart=/bin/true\n")
    directory = tmp_path / "tenant.service.d"
    directory.mkdir()
    (directory / "50-carveout.conf").write_text(text)
    done = subprocess.run(
        [analyze, "verify", str(tmp_path / "tenant.service")], capture_output=True, text=True, check=False
    )
    assert "50-carveout" not in done.stderr, done.stderr
    (directory / "50-carveout.conf").write_text(text.replace("DeviceAllow=", "DeviceAllow=x"))
    done = subprocess.run(
        [analyze, "verify", str(tmp_path / "tenant.service")], capture_output=True, text=True, check=False
    )
    assert "50-carveout" in done.stderr, "this systemd-analyze finds nothing"


class Tree(RealSystem):
    """A tree of files in which programs are not run, but for rmdir."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self.commands: list[list[str]] = []

    def run(self, argv: Sequence[str]) -> Completed:
        self.commands.append(list(argv))
        if argv[0] == "rmdir":
            subprocess.run(["rmdir", argv[1], str(self.root / argv[2].lstrip("/"))], check=True)
        return Completed(0, "", "")


def install(tree: Tree, wanted: Layout | None, committed: str | None = None) -> list[str]:
    changes = plan_present(tree, DIGEST, lambda: "program", wanted, committed, None)
    apply_present(tree, changes)
    return sorted(change.path for change in changes.changes if is_drop_in(change.path))


def test_drop_ins_come_change_and_go_with_the_layout(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    one, two = layout(vm_a=["a.service"]), layout(vm_a=["b.service"], vm_b=["b.service"])
    path_a, path_b = drop_in_path("a.service"), drop_in_path("b.service")
    foreign = tmp_path / "etc/systemd/system/a.service.d/10-mine.conf"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("[Service]\nNice=1\n")

    assert install(tree, one) == [path_a]
    assert (tmp_path / path_a.lstrip("/")).read_text() == drop_ins(one)[path_a]
    assert ["systemctl", "daemon-reload"] in tree.commands
    tree.commands.clear()
    assert install(tree, one) == [] and ["systemctl", "daemon-reload"] not in tree.commands
    # a call that is not about the layout leaves them
    assert install(tree, None, one.id) == [] and path_a in known_files(tree)

    assert install(tree, two) == [path_a, path_b]
    assert path_a not in known_files(tree) and foreign.exists()
    assert ["systemctl", "daemon-reload"] in tree.commands

    (tmp_path / path_b.lstrip("/")).write_text("[Service]\nDevicePolicy=auto\n")
    assert install(tree, two) == [path_b]
    assert install(tree, layout(vm_a=[])) == [path_b]
    assert not (tmp_path / path_b.lstrip("/")).parent.exists()


def test_the_controller_sees_drop_ins_that_are_too_many_or_too_few(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    one, none = layout(vm_a=["a.service"]), layout(vm_a=[])
    install(tree, one)
    tree.write("/etc/systemd/system/multi-user.target.wants/x", "")
    files = known_files(tree)
    (tmp_path / "etc/systemd/system/multi-user.target.wants/carveout.target").symlink_to(
        "/etc/systemd/system/carveout.target"
    )
    program = next(path for path in files if path.endswith(".pyz"))
    files = known_files(tree)
    assert up_to_date(files, files[program], one, None)
    install(tree, none)
    assert not up_to_date(known_files(tree), files[program], one, None)
    assert not up_to_date(files, files[program], none, None)
    assert up_to_date(files, files[program], None, None)


def test_rollback_removes_drop_ins_also_where_nothing_else_is_left(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    path = drop_in_path("a.service")
    tree.write(path, "old")
    apply_absent(tree, plan_absent(tree))
    assert not (tmp_path / path.lstrip("/")).parent.exists()
    # no unit of ours is there that could be stopped
    assert [argv for argv in tree.commands if argv[0] == "systemctl"] == [["systemctl", "daemon-reload"]]


def test_verification_holds_the_host_to_its_drop_ins(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    one = layout(vm_a=["a.service"])
    install(tree, one)

    def unmet(wanted: Layout) -> list[str]:
        host = dataclasses.replace(HOST, state={"files": known_files(tree)})
        return [found.message for found in unit_access(wanted, host) if not found.met]

    path = drop_in_path("a.service")
    assert unmet(one) == [] and len(unit_access(one, host_with(tree))) == 1
    assert unmet(layout(vm_a=[])) == [f"pools: {path} lets a service at devices, which no plan asked for"]
    tree.write(path, drop_ins(one)[path] + "DevicePolicy=auto\n")
    (message,) = unmet(one)
    assert message.startswith("pools.a.devices[0].unit: ") and "is other than it should be" in message
    tree.remove(path)
    (message,) = unmet(one)
    assert "which lets a.service at vm-a, is missing" in message


def host_with(tree: Tree) -> Host:
    return dataclasses.replace(HOST, state={"files": known_files(tree)})
