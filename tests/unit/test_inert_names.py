# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of a plan (pools, devices, accounts, services, places of mounts): what passes the checks is a name, and nothing
more, in unit files, udev rules, shells, XML, HTML and texts.

Each text is compared with the one of the same plan with plain names: what is written around the names may not change.
"""

from __future__ import annotations

import base64
import dataclasses
import html.parser
import re
import shlex
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._dax.udev import render_rules
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._host_files import mount_texts
from ansible_collections.carveout.memory.plugins.module_utils._layout import ACCOUNT, NAME, UNIT, Layout
from ansible_collections.carveout.memory.plugins.module_utils._mounts import DMEMFS, service_texts
from ansible_collections.carveout.memory.plugins.module_utils._planner.build import make_layout
from ansible_collections.carveout.memory.plugins.module_utils._tenant_units import drop_ins
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.junit import report_junit
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.metrics import host_metrics
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.page import report_page
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.record import Record
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.summary import report_text
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_svg import layout_svg
from ansible_collections.carveout.memory.plugins.plugin_utils.picture_text import layout_text
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_schema import validated_plan
from ansible_collections.carveout.memory.plugins.plugin_utils.tenant_text import (
    libvirt_xml,
    mount_libvirt_xml,
    tenants_text,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.verification.raw import raw_texts_command
from ansible_collections.carveout.memory.tests.fuzz import samples

HOST = host_from_json(
    {**samples.host(), "committed": None, "layouts": {}, "boot_arguments": ["quiet"], "state": {}}
)
PLAIN = {
    "pool": "pool",
    "device": "device",
    "owner": "owner",
    "group": "group",
    "unit": "unit.service",
    "path": "/mnt/place",
}
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")
#: What means something to one of the readers.
SHARP = st.text(
    st.sampled_from("\n\r\t\x00\x1b\x7f\x85\u2028\u202e%$`'\"\\<>&;|=,:*?[]{}()#@!~^ -./_azA09$é٣"),
    max_size=12,
)
ASCII = st.characters(codec="ascii")


def allowed(pattern: str | re.Pattern[str]) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True, alphabet=ASCII)


NAMES = {
    "pool": allowed(NAME),
    "device": allowed(NAME),
    "owner": allowed(ACCOUNT),
    "group": allowed(ACCOUNT),
    "unit": allowed(UNIT),
    "path": allowed(r"/mnt(/[A-Za-z0-9_.-]{1,8}){1,4}"),
}


@st.composite
def nearly(draw: st.DrawFn) -> tuple[str, str]:
    """One of them that is, as a rule, not allowed."""
    key = draw(st.sampled_from(list(NAMES)))
    name, sharp = draw(NAMES[key]), draw(SHARP)
    at = draw(st.integers(0, len(name)))
    return key, draw(
        st.sampled_from([name[:at] + sharp + name[at:], sharp, "--", "-rf", "..", f"{name}\n", f"%n{name}"])
    )


#: All allowed, or all but one.
GIVEN = st.tuples(st.fixed_dictionaries(NAMES), st.lists(nearly(), max_size=1)).map(
    lambda both: {**both[0], **dict(both[1])}
)


def planned(given: dict[str, str]) -> Layout:
    """Raises :class:`CarveoutError` where a name is not allowed."""
    account = {"owner": given["owner"], "group": given["group"]}
    device = {
        "name": given["device"],
        "node": 0,
        "size": "1GiB",
        "mode": "0660",
        "unit": given["unit"],
        **account,
    }
    plan = {
        "version": 1,
        "kernel": {"memory": "10%"},
        "pools": {
            given["pool"]: {"mechanism": "dax", "nodes": {"0": "1GiB"}, "devices": [device]},
            given["pool"][:60] + "Hp": {
                "mechanism": "hugetlb", "page_size": "2MiB", "nodes": {"1": "128MiB"},
                "mounts": [{"path": given["path"], "size": "64MiB", "mode": "0770", **account}],
            },
        },
    }  # fmt: skip
    return make_layout(validated_plan(plan), HOST)


def outputs(layout: Layout) -> dict[str, str]:
    (device,), (mount,) = layout.devices, layout.mounts
    message = f"{device.path}: {device.name} is not there"
    unmet = {
        "name": device.name, "path": device.path, "subject": "devices", "expected": "x", "measured": "y", "met": False,
        "message": message,
    }  # fmt: skip
    record = Record(device.name, False, (message, mount.path), (unmet,), layout.to_json())
    dmemfs = dataclasses.replace(mount, kind=DMEMFS)
    return {
        "rules": render_rules(layout),
        "drop-ins": "".join(f"{path}\n{text}" for path, text in drop_ins(layout).items()),
        "mounts": "".join(f"{path}\n{text}" for path, text in mount_texts(layout).items()),
        "services": "".join(service_texts([dmemfs], "# header", "target").values()),
        "text": layout_text(HOST, layout),
        "tenants": tenants_text(layout),
        "svg": layout_svg(HOST, layout),
        "xml": "<a>"
        + "\n".join([*libvirt_xml(layout.devices[0]), *mount_libvirt_xml(layout.mounts[0])])
        + "</a>",
        "command": raw_texts_command(layout),
        "junit": report_junit([record]),
        "page": "".join(report_page([record.host], lambda _: record)),
        "summary": report_text([record]),
        "metrics": host_metrics(record),
    }


EXPECTED = outputs(planned(PLAIN))


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))


def shape(text: str) -> list[Any]:
    return [(element.tag, tuple(sorted(element.attrib))) for element in ElementTree.fromstring(text).iter()]


def words(command: str) -> list[str]:
    return list(shlex.shlex(command, posix=True, punctuation_chars=True))


def keys(text: str) -> list[str]:
    """Of unit files: what stands before each value."""
    return [
        line.partition("=")[0] if "=" in line else line
        for line in text.splitlines()
        if not line.startswith("/")
    ]


@given(GIVEN)
@settings(max_examples=400)
@example({**PLAIN, "owner": "a$", "group": "_$"})
@example({**PLAIN, "path": "/mnt/a--b"})
@example({**PLAIN, "path": "/mnt/-"})
@example({**PLAIN, "device": "A" + "." * 62, "pool": "B" + "-" * 62})
def test_what_passes_is_a_name_and_nothing_more(given: dict[str, str]) -> None:
    try:
        layout = planned(given)
    except CarveoutError as error:
        assert str(error)
        return
    made = outputs(layout)
    for kind, text in made.items():
        assert not CONTROL.search(text.replace("\t", " ")), kind
    # units: the same keys in the same order, and no specifier, quote or continuation
    for kind in ("drop-ins", "mounts", "services"):
        assert keys(made[kind]) == keys(EXPECTED[kind])
        values = [line.partition("=")[2] for line in made[kind].splitlines() if not line.startswith("#")]
        assert not re.search(r"[%'\"`;]|\\$|\\(?!x2d)", "\n".join(values), re.MULTILINE)
    # where a command stands, "$" may neither begin a word nor come before another or a brace (systemd.service(5))
    assert not re.search(r"[ =]\$|\$[${]", made["services"])
    (device,) = layout.devices
    options = re.search(r"^Options=(.*)$", made["mounts"], re.MULTILINE)
    assert options and options[1].split(",") == [
        "pagesize=2M", "size=67108864", f"uid={given['owner']}", f"gid={given['group']}", "mode=0770", "nosuid", "nodev"
    ]  # fmt: skip
    assert f"\nWhere={given['path']}\n" in made["mounts"]
    # udev: the values are the names, after the substitutions of udev(7)
    (rule,) = (line for line in made["rules"].splitlines() if line.startswith("DRIVER"))
    pairs = [
        re.fullmatch(r'([A-Z]+(?:\{[a-z0-9/]+\})?)(==|\+=|=)"([^"\\]*)"', word) for word in rule.split(", ")
    ]
    told = {pair[1]: pair[3] for pair in pairs if pair}
    assert len(told) == len(pairs)
    assert {re.sub(r"\$\$|%%", "", value) for value in told.values()} & {"$", "%"} == set()
    plain = {key: value.replace("$$", "$").replace("%%", "%") for key, value in told.items()}
    assert (plain["SYMLINK"], plain["OWNER"], plain["GROUP"]) == (
        f"carveout/{device.name}",
        device.owner,
        device.group,
    )
    # shells: one word, and the others as before
    assert words(made["command"]) == [
        word.replace("/dev/carveout/device", f"/dev/carveout/{device.name}")
        for word in words(EXPECTED["command"])
    ]
    # markup: the same elements
    # a label is left out where it is too long
    assert set(shape(made["svg"])) <= set(shape(EXPECTED["svg"]))
    assert shape(made["xml"]) == shape(EXPECTED["xml"])
    assert shape(made["junit"]) == shape(EXPECTED["junit"])
    assert Tags(made["page"]).found == Tags(EXPECTED["page"]).found
    for text in re.findall(r"base64,([^\"]*)", made["page"]):
        assert set(shape(base64.b64decode(text).decode())) <= set(shape(EXPECTED["svg"]))
    for kind in ("summary", "metrics", "tenants"):
        assert len(made[kind].splitlines()) == len(EXPECTED[kind].splitlines()), kind
    # nothing but these, below the places that are ours
    for path in (*drop_ins(layout), *mount_texts(layout)):
        assert (
            re.fullmatch(r"/etc/systemd/system/[A-Za-z0-9_.:@\\-]+(\.d/[a-z0-9-]+\.conf)?", path)
            and "/../" not in path
        )


def test_a_device_of_which_the_plan_says_nothing_is_roots_alone() -> None:
    device = {"name": "vm-a", "node": 0, "size": "1GiB"}
    pools = {"pool": {"mechanism": "dax", "nodes": {"0": "1GiB"}, "devices": [device]}}
    plan = {"version": 1, "kernel": {"memory": "10%"}, "pools": pools}
    rules = render_rules(make_layout(validated_plan(plan), HOST))
    assert 'OWNER="root", GROUP="root", MODE="0600"' in rules
    # and one with a service is nobody else's
    for mode in ("0666", "0604", "0602"):
        device.update(unit="qemu-a.service", mode=mode)
        with pytest.raises(CarveoutError, match="end the mode in 0"):
            validated_plan(plan)
