# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as JUnit XML: a suite for each host, a case for each expectation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from .record import UNKNOWN, Record

#: What XML 1.0 has no way to write (https://www.w3.org/TR/xml/#charsets).
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report_junit(records: Iterable[Record]) -> str:
    root = ElementTree.Element("testsuites", name="carveout")
    tests = failures = errors = 0
    for record in records:
        suite = _suite(record)
        root.append(suite)
        tests += int(suite.get("tests", ""))
        failures += int(suite.get("failures", ""))
        errors += int(suite.get("errors", ""))
    root.attrib.update({"tests": str(tests), "failures": str(failures), "errors": str(errors)})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(record: Record) -> ElementTree.Element:
    host = _fit(record.host)
    suite = ElementTree.Element("testsuite", name=host)
    for expectation in record.expectations:
        case = ElementTree.SubElement(suite, "testcase", classname=host, name=_fit(expectation["name"]))
        if not expectation["met"]:
            ElementTree.SubElement(case, "failure", message=_fit(expectation["message"]))
    unknown = record.verdict == UNKNOWN
    others = record.other_failures
    for index, failure in enumerate(others):
        name = "verification" if unknown else f"raw read {index + 1}"
        case = ElementTree.SubElement(suite, "testcase", classname=host, name=name)
        ElementTree.SubElement(case, "error" if unknown else "failure", message=_fit(failure))
    counts = {
        "tests": len(suite),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
    }
    suite.attrib.update({name: str(count) for name, count in counts.items()})
    return suite


def _fit(text: str) -> str:
    return _UNFIT.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
