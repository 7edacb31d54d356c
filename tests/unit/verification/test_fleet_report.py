# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report of many hosts in all its forms, and the metrics of one, from what verification found."""

from __future__ import annotations

import base64
import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.carveout.memory.plugins.module_utils._expectations import expectations
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.metrics import host_metrics
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.record import (
    Record,
    read_record,
    write_record,
)
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.summary import report_text
from ansible_collections.carveout.memory.plugins.plugin_utils.fleet_report.write import write_report

GIB = 1 << 30
#: What an inventory may call a host, and what none may have a report do.
EVIL = "<img src=x onerror=alert(1)>\"&'\x1b[2J/../\ufffe"


def record(host: str, layout: Layout, snapshot: dict[str, Any], *others: str) -> Record:
    """As the suite records it; ``others`` are failures of raw reads."""
    found = [e.to_json() for e in expectations(layout, host_from_json(copy.deepcopy(snapshot)))]
    failures = tuple(e["message"] for e in found if not e["met"]) + others
    return Record(host, not failures, failures, tuple(found), layout.to_json(), snapshot)


@pytest.fixture
def broken(layout: Layout, carved: dict[str, Any]) -> Record:
    carved["committed"] = layout.id
    carved["state"]["dax"]["regions"][0]["devices"][1]["mode"] = "0666"
    return record(EVIL, layout, carved, f"pools.guests.devices[2]: raw stat: {EVIL}")


@pytest.fixture
def report(layout: Layout, carved: dict[str, Any], broken: Record, tmp_path: Path) -> Path:
    """Of a host that is fine, one that deviates, one that could not be verified and one that left no record."""
    fine = copy.deepcopy(carved)
    fine["state"]["dax"]["regions"][0]["devices"][1]["mode"] = "0660"
    records = tmp_path / "records"
    records.mkdir()
    for found in (record("h1", layout, fine), broken, Record("h3", False, ("h3: <b>no answer</b>",))):
        write_record(str(records), found)
    write_report(["h1", EVIL, "h3", "gone"], str(records), tmp_path / "report")
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == [
        "report.html",
        "report.json",
        "report.txt",
        "report.xml",
    ]
    return tmp_path / "report"


def test_a_record_comes_back_as_it_was(broken: Record, tmp_path: Path) -> None:
    write_record(str(tmp_path), broken)
    assert json.dumps(vars(read_record(str(tmp_path), EVIL))) == json.dumps(vars(broken))
    assert read_record(str(tmp_path), EVIL).unmet == broken.unmet
    assert len(list(tmp_path.iterdir())) == 1


def test_text(report: Path, layout: Layout) -> None:
    text = (report / "report.txt").read_text()
    assert text.startswith(f"h1: as committed, layout {layout.id}\n<img ")
    assert "  - pools.guests.devices[0]: the device vm-a has mode 0666, the plan says 0660\n" in text
    assert "h3: not verified\n  - h3: <b>no answer</b>\n" in text
    assert "gone: not verified\n  - it was not verified: no answer came from it" in text
    assert "4 hosts: 1 as committed, 1 deviating, 2 not verified\n" in text
    assert "carved out: 10 GiB; struct pages given back: " in text
    assert "\x1b" not in text


def test_a_long_list_of_failures_is_cut_in_the_text(layout: Layout, carved: dict[str, Any]) -> None:
    many = record("h1", layout, carved, *(f"raw {number}" for number in range(30)))
    text = report_text([many])
    assert "  ... and 10 more\n" in text
    assert "raw 19" in text
    assert "raw 20" not in text


def test_json(report: Path, layout: Layout) -> None:
    data = json.loads((report / "report.json").read_text())
    assert data["counts"] == {"fine": 1, "deviates": 1, "unknown": 2}
    fine, broken, silent, gone = data["hosts"]
    assert (fine["host"], fine["verdict"], fine["id"], fine["carved"]) == ("h1", "fine", layout.id, 5 * GIB)
    assert fine["checked"] > 50
    assert fine["expectations"] == []
    assert broken["host"] == EVIL
    assert [e["name"] for e in broken["expectations"]] == ["device vm-a mode"]
    assert (silent["verdict"], gone["verdict"], gone["id"]) == ("unknown", "unknown", "")


def test_junit(report: Path) -> None:
    root = ElementTree.parse(report / "report.xml").getroot()
    assert (root.get("failures"), root.get("errors")) == ("2", "2")
    fine, broken, silent, gone = root.findall("testsuite")
    assert (fine.get("name"), fine.get("failures"), fine.get("errors")) == ("h1", "0", "0")
    assert int(fine.get("tests", "")) == len(fine.findall("testcase")) > 50
    assert broken.get("name") == EVIL.replace("\x1b", "\\x1b").replace("\ufffe", "\\xfffe")
    messages = [failure.get("message") for failure in broken.iter("failure")]
    assert messages[0] == "pools.guests.devices[0]: the device vm-a has mode 0666, the plan says 0660"
    assert (silent.get("errors"), gone.get("errors")) == ("1", "1")


class Page(HTMLParser):
    """What a browser would make of it: elements, what they refer to, and the words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_page(report: Path) -> None:
    page = Page((report / "report.html").read_text())
    assert "1 as committed, 1 deviates, 2 not verified" in page.words
    # each name is words, and makes no element of its own
    assert EVIL.replace("\x1b", "\\x1b") in page.words
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 2
    for attributes in images:
        assert set(attributes) == {"alt", "src"}
        kind, _, data = (attributes["src"] or "").partition(",")
        assert kind == "data:image/svg+xml;base64"
        svg = ElementTree.fromstring(base64.b64decode(data))
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert {tag for tag, _ in page.elements} == {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "th", "td", "a",
        "code", "ul", "li", "img",
    }  # fmt: skip
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert links == {f"#{attributes['id']}" for tag, attributes in page.elements if tag == "h2"}
    assert not re.search(r"https?:|url\(|@import", (report / "report.html").read_text())
    first = next(attributes for tag, attributes in page.elements if tag == "h2")
    assert first == {"id": "h0"}
    assert page.words.index("<img src=x") < page.words.index("h1\n")


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """As Prometheus reads it."""
    return {
        family.name: [(dict(sample.labels), sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_metrics(layout: Layout, carved: dict[str, Any], broken: Record) -> None:
    found = samples(host_metrics(broken))
    assert found["carveout_drift"] == [({}, 1)]
    assert found["carveout_unmet_expectations"] == [({}, 1)]
    assert found["carveout_committed_layout_info"] == [({"id": layout.id}, 1)]
    sizes = {(s["pool"], s["mechanism"], s["node"]): value for s, value in found["carveout_carved_bytes"]}
    assert sizes == {
        ("guests", "dax", "0"): 2 * GIB,
        ("guests", "dax", "1"): 2.75 * GIB,
        ("scratch", "reserved", "1"): GIB / 4,
    }
    assert sum(value for _, value in found["carveout_saved_bytes"]) == layout.memory.saved
    # one by an expectation, one by a raw read
    states = {labels["device"]: value for labels, value in found["carveout_device_state"]}
    assert states == {"vm-a": 0, "vm-b": 1, "vm-c": 0, "vm-d": 1}


def test_metrics_of_a_host_that_is_fine_and_of_one_that_was_not_verified(
    layout: Layout, carved: dict[str, Any]
) -> None:
    fine = samples(host_metrics(record("h1", layout, carved)))
    assert fine["carveout_drift"] == [({}, 0)]
    assert {value for _, value in fine["carveout_device_state"]} == {1}
    assert samples(host_metrics(Record("h1", False, ("no answer",)))) == {"carveout_drift": [({}, 1)]}


def test_labels_of_metrics_are_escaped(layout: Layout, carved: dict[str, Any]) -> None:
    name = 'a"b\\c\nd'
    data = layout.to_json()
    data["devices"][0]["name"] = name
    found = samples(host_metrics(Record("h1", True, (), (), data, carved)))
    assert found["carveout_device_state"][0][0]["device"] == name
