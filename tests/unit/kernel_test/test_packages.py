# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pinned packages, and what is taken where a mirror has them no more."""

from __future__ import annotations

import re

import pytest

from ansible_collections.carveout.memory.tests.kernel.packages import PackageError, newest, pins

INDEX = "\n\n".join(
    f"Package: {name}\nVersion: {version}\nFilename: pool/{name}.deb\nSHA256: {'0' * 64}"
    for name, version in (
        ("linux-binary-7.2.9+deb14-amd64", "7.2.9-1"),
        ("linux-modules-7.2.9+deb14-amd64", "7.2.9-1"),
        ("linux-binary-7.2.12+deb14-amd64", "7.2.12-1"),
        ("linux-modules-7.2.12+deb14-amd64", "7.2.12-1"),
        ("linux-binary-7.3.1+deb14-amd64", "7.3.1-1"),
        ("linux-binary-7.4.1+deb14-rt-amd64", "7.4.1-1"),
    )
)
PIN = {
    "suite": "forky",
    "releases": r"\d+\.\d+\.\d+\+deb14-amd64",
    "packages": [{"name": "linux-binary"}, {"name": "linux-modules"}],
}


def test_every_pin_is_complete() -> None:
    data = pins()
    assert set(data["default"]) <= set(data["kernels"])
    for pin in (data["busybox"], *data["kernels"].values()):
        for package in pin["packages"]:
            assert re.fullmatch(r"[0-9a-f]{64}", package["sha256"])
            assert package["filename"].startswith("pool/")
    for pin in data["kernels"].values():
        assert re.fullmatch(pin["releases"], pin["release"])


def test_newest_is_by_number_and_has_all_packages() -> None:
    release, packages = newest(INDEX, PIN)
    assert release == "7.2.12+deb14-amd64"
    assert [package["name"] for package in packages] == ["linux-binary", "linux-modules"]
    assert packages[1]["filename"] == "pool/linux-modules-7.2.12+deb14-amd64.deb"


def test_a_suite_without_the_packages_is_named() -> None:
    with pytest.raises(PackageError, match="forky has no linux-image"):
        newest(INDEX, {**PIN, "packages": [{"name": "linux-image"}]})
