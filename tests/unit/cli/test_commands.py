# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._layout import Layout
from ansible_collections.carveout.memory.plugins.module_utils._units import GIB
from ansible_collections.carveout.memory.plugins.module_utils._version import VERSION
from ansible_collections.carveout.memory.plugins.plugin_utils import cli_check, cli_plan
from ansible_collections.carveout.memory.plugins.plugin_utils.cli import main
from ansible_collections.carveout.memory.tests.fuzz.samples import PLAN

Run = Callable[..., tuple[int, str, str]]


def host_with(path: Path, **changes: Any) -> str:
    """A changed copy of host.json."""
    host = json.loads((path / "host.json").read_text())
    for key, value in changes.items():
        section, _, name = key.partition("_")
        if name:
            host[section][name] = value
        else:
            host[key] = value
    target = path / f"host-{'-'.join(changes)}.json"
    target.write_text(json.dumps(host))
    return target.name


# ------------------------------------------------------------------------------------- what is printed


def test_plan_as_text(run: Run) -> None:
    status, out, err = run("plan", "plan.yml", "--host", "host.json")
    assert (status, err) == (0, "")
    assert out.startswith("layout ")
    assert max(map(len, out.splitlines())) <= 80
    assert "  memmap=1G%4G-1+0xefffffff" in out.splitlines()


def test_plan_for_tenants(run: Run) -> None:
    status, out, err = run("plan", "plan.yml", "--host", "host.json", "--format", "tenants")
    assert (status, err) == (0, "")
    assert [line.partition(":")[0] for line in out.splitlines() if line and line[0] != " "] == [
        "vm-a",
        "vm-b",
        "vm-c",
    ]
    assert "mem-path=/dev/carveout/vm-a,size=1073741824,align=" in out
    status, _, err = run("plan", "plan.yml", "--host", ".", "--out", "out", "--format", "tenants")
    assert status == 2 and "--format tenants is for one host" in err


def test_predict(run: Run) -> None:
    line = "memmap=1G%5G-1+0xefffffff quiet"
    status, out, err = run("predict", "--host", "host.json", "--cmdline", line)
    assert (status, err) == (0, "")
    assert "  000140000000-00017fffffff        1 GiB  Soft Reserved" in out.splitlines()
    status, out, _ = run("predict", "--host", "host.json", "--cmdline", line, "--format", "json")
    assert status == 0
    assert json.loads(out)["kernel"] == "6.12.107+deb13-amd64"
    assert [5 * GIB, 6 * GIB, "Soft Reserved"] in json.loads(out)["iomem"]
    newer = ("--kernel", "7.2.12", "--format", "json")
    status, out, _ = run("predict", "--host", "host.json", "--cmdline", line, *newer)
    assert [5 * GIB, 6 * GIB, 0xEFFFFFFF] in json.loads(out)["kernel_map"]
    assert "Soft Reserved" not in {name for _, _, name in json.loads(out)["iomem"]}


def test_predict_a_host_that_does_not_boot(run: Run) -> None:
    status, out, err = run("predict", "--host", "host.json", "--cmdline", "memmap=1G%5G-1+1")
    assert (status, out) == (3, "")
    assert "BUG_ON" in err
    options = ("--cmdline", "mem=16M", "--format", "json")
    status, out, err = run("predict", "--host", "host.json", *options)
    assert (status, err) == (3, "")
    assert [error["code"] for error in json.loads(out)["errors"]] == ["does-not-boot"]


def test_plan_as_json_and_svg(run: Run, tmp_path: Path) -> None:
    status, out, err = run("plan", "plan.yml", "--host", "host.json", "--format", "json")
    assert (status, err) == (0, "")
    layout = Layout.from_json(json.loads(out))
    assert layout.kernel == "6.12.107+deb13-amd64"
    assert [d.name for d in layout.devices] == ["vm-a", "vm-b", "vm-c"]
    assert run("plan", "plan.yml", "--host", "host.json", "--format", "json")[1] == out
    (tmp_path / "layout.json").write_text(out)
    status, svg, _ = run("plan", "plan.yml", "--host", "host.json", "--format", "svg")
    assert status == 0
    assert svg.startswith("<svg ")
    again = run("plan", "plan.yml", "--host", "host.json", "--previous", "layout.json", "--format", "json")
    assert again[:2] == (0, out)


def test_planning_for_another_kernel(run: Run) -> None:
    def kernel(*more: str) -> str:
        status, out, _ = run("plan", "plan.yml", "--host", "host.json", "--format", "json", *more)
        assert status == 0
        return str(json.loads(out)["kernel"])

    assert kernel("--kernel", "7.2.13") == "7.2.13"
    status, _, err = run("plan", "plan.yml", "--host", "host.json", "--kernel", "5.9.1")
    assert status == 3
    assert "pools.guests.mechanism: the kernel that boots next, 5.9.1, makes no DAX device" in err
    for wrong in ("", "x y", "6.12; reboot", "latest"):
        status, _, err = run("plan", "plan.yml", "--host", "host.json", "--kernel", wrong)
        assert status == 4
        assert "is not a kernel's release" in err


def test_a_committed_layout_is_kept(run: Run, tmp_path: Path) -> None:
    _, out, _ = run("plan", "plan.yml", "--host", "host.json", "--format", "json")
    layout = json.loads(out)
    name = host_with(
        tmp_path, committed=layout["id"], layouts={layout["id"]: layout}, kernel_default="6.12.200"
    )
    assert run("plan", "plan.yml", "--host", name, "--format", "json")[1] == out
    replanned = json.loads(run("plan", "plan.yml", "--host", name, "--replan", "--format", "json")[1])
    assert (replanned["id"] != layout["id"], replanned["kernel"]) == (True, "6.12.200")
    assert replanned["reservations"] == layout["reservations"]
    # A damaged one counts as none; one given by hand is refused.
    layout["warnings"] = [{"code": "x", "message": "y"}]
    name = host_with(tmp_path, committed=layout["id"], layouts={layout["id"]: layout})
    assert run("plan", "plan.yml", "--host", name, "--format", "json")[1] == out
    (tmp_path / "layout.json").write_text(json.dumps(layout))
    status, _, err = run("plan", "plan.yml", "--host", "host.json", "--previous", "layout.json")
    assert status == 4
    assert "it was edited (layout.json)" in err


def test_check_says_nothing_where_nothing_is_wrong(run: Run) -> None:
    assert run("check", "plan.yml") == (0, "", "")
    assert run("check", "plan.yml", "--host", "host.json", "--host", "host.json") == (0, "", "")
    status, out, err = run("check", "plan.yml", "--host", "host.json", "--format", "json")
    assert (status, err) == (0, "")
    layout = json.loads(run("plan", "plan.yml", "--host", "host.json", "--format", "json")[1])
    fine = {"host": "host.json", "status": 0, "id": layout["id"], "errors": []}
    assert json.loads(out) == {"errors": [], "hosts": [fine]}


# ------------------------------------------------------------------------------------------ exit codes


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("plan",),
        ("plan", "plan.yml"),
        ("plan", "plan.yml", "--host", "host.json", "--format", "yaml"),
        ("plan", "plan.yml", "--host", "host.json", "--nonsense"),
        ("check",),
        ("verify", "--layout", "x"),
        ("host",),
        ("host", "--root", "/", "--dmesg", "x"),
        ("nonsense",),
    ],
)
def test_wrong_usage(run: Run, argv: tuple[str, ...]) -> None:
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert "usage: carveout" in err


def test_help_and_version(run: Run) -> None:
    assert run("--version")[:2] == (0, f"carveout {VERSION}\n")
    for argv in (
        ("--help",),
        ("plan", "--help"),
        ("check", "--help"),
        ("host", "--help"),
        ("verify", "--help"),
    ):
        status, out, _ = run(*argv)
        assert status == 0
        assert "usage: carveout" in out


def test_a_host_that_cannot(run: Run, tmp_path: Path) -> None:
    (tmp_path / "large.yml").write_text(
        "version: 1\nkernel: {memory: 1GiB}\npools: {a: {mechanism: dax, nodes: {1: 64GiB}}}\n"
    )
    status, out, err = run("plan", "large.yml", "--host", "host.json")
    assert (status, out) == (3, "")
    assert err.startswith(
        "carveout: pools.a.nodes.1: 64GiB does not fit on node 1: the largest possible size is 3GiB"
    )
    assert err.count("\n") == 1
    status, out, err = run("plan", "large.yml", "--host", "host.json", "--format", "json")
    assert (status, err) == (3, "")
    (error,) = json.loads(out)["errors"]
    assert (error["path"], error["code"]) == ("pools.a.nodes.1", "does-not-fit")
    status, _, err = run("check", "large.yml", "--host", "host.json")
    assert status == 3
    assert err.startswith("host.json: pools.a.nodes.1: 64GiB")


@pytest.mark.parametrize(
    ("files", "argv", "words"),
    [
        ({}, ("plan", "gone.yml", "--host", "host.json"), "gone.yml: No such file or directory"),
        ({}, ("plan", ".", "--host", "host.json"), ".: Is a directory"),
        ({}, ("plan", "plan.yml", "--host", "gone.json"), "gone.json: No such file"),
        ({}, ("plan", "~nobody-of-this-name/plan.yml", "--host", "host.json"), "home directory"),
        ({"x": b"\xff\xfe"}, ("plan", "x", "--host", "host.json"), "x: not UTF-8 text"),
        ({"x": b"{"}, ("plan", "plan.yml", "--host", "x"), "x: not JSON"),
        ({"x": b"[" * 200_000}, ("plan", "plan.yml", "--host", "x"), "x: not JSON"),
        ({"x": b"{}"}, ("plan", "plan.yml", "--host", "x"), "schema: is missing (x)"),
        ({"x": b"[]"}, ("plan", "plan.yml", "--host", "x"), "an object is expected"),
        ({"x": b"NaN"}, ("plan", "plan.yml", "--host", "x"), "an object is expected"),
        ({"x": b"a: [1"}, ("plan", "x", "--host", "host.json"), "x, line 1"),
        ({"x": b"a: {mode: 0660}"}, ("check", "x"), "a.mode: YAML reads 0660 as an octal number"),
        ({"x": b"{}"}, ("check", "x"), "version: this key is needed"),
        ({"x": b"{}"}, ("plan", "plan.yml", "--host", "host.json", "--previous", "x"), "not a layout"),
        ({"x": b"{}"}, ("verify", "--host", "host.json", "--layout", "x"), "not a layout"),
        ({"x": b"nothing"}, ("host", "--dmesg", "x"), "no firmware memory map"),
        ({}, ("host", "--dmesg", "gone"), "gone: No such file"),
        ({}, ("host", "--root", "gone"), "gone: not a folder"),
    ],
)
def test_invalid_input(
    run: Run, tmp_path: Path, files: dict[str, bytes], argv: tuple[str, ...], words: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    status, out, err = run(*argv)
    assert (status, out) == (4, "")
    assert words in err
    status, out, err = run(*argv, "--format", "json")
    assert (status, err) == (4, "")
    assert any(words in f"{e['path']}: {e['message']}" for e in json.loads(out)["errors"])


def test_nothing_from_a_file_steers_the_terminal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(json.dumps({**PLAN, "\x1b[2J": 1}))
    status, _, err = run("check", "x.yml")
    assert status == 4
    assert "\x1b" not in err
    assert "\\x1b[2J: unknown key" in err


def test_no_path_of_a_home_or_nul_fails(run: Run) -> None:
    status, _, err = run("check", "a\0b")
    assert status == 4
    assert "null" in err


def test_a_fault_of_our_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(cli_plan, "make_layout", fail)
    status, out, err = run("plan", "plan.yml", "--host", "host.json")
    assert (status, out) == (1, "")
    assert err == "carveout: internal error: RuntimeError: oops (set CARVEOUT_TRACEBACK=1 for the place)\n"
    status, out, err = run("plan", "plan.yml", "--host", "host.json", "--format", "json")
    assert (status, err) == (1, "")
    assert json.loads(out)["errors"][0]["code"] == "internal"
    monkeypatch.setenv("CARVEOUT_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        main(["plan", "plan.yml", "--host", "host.json"])


def test_many_hosts_and_the_order_of_codes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.json").write_text("{}")
    small = host_with(tmp_path, firmware_map=[[0, 3 * GIB, 1]])
    for hosts, code in (
        (("host.json", small), 3),
        ((small, "host.json"), 3),
        ((small, "bad.json"), 4),
        (("bad.json", small, "gone.json"), 4),
        (("host.json",), 0),
    ):
        argv = [word for name in hosts for word in ("--host", name)]
        status, _, err = run("check", "plan.yml", *argv)
        assert status == code
        for name in hosts:
            assert (f"{name}: " in err) == (name != "host.json")
        status, out, err = run("check", "plan.yml", "--format", "json", *argv)
        assert (status, err) == (code, "")
        result = json.loads(out)
        assert [entry["host"] for entry in result["hosts"]] == list(hosts)
        statuses = {entry["host"]: entry["status"] for entry in result["hosts"]}
        assert statuses == {h: {"host.json": 0, small: 3}.get(h, 4) for h in hosts}
        assert result["errors"] == [e for entry in result["hosts"] for e in entry["errors"]]

    def fail(*_: Any) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(cli_check, "make_layout", fail)
    status, _, err = run("check", "plan.yml", "--host", "bad.json", "--host", "host.json")
    assert status == 1
    assert "host.json: internal error: RuntimeError: oops" in err
    assert "bad.json: schema: is missing" in err
    # A bad plan is told once, not once a host.
    (tmp_path / "x.yml").write_text("{}")
    assert run("check", "x.yml", "--host", "host.json", "--host", "bad.json")[0] == 4


def test_nobody_reads_the_output(run: Run, tmp_path: Path) -> None:
    """Into a closed pipe, as a process of its own: `carveout plan ... | head -c 1`."""
    name = "ansible_collections.carveout.memory.plugins.plugin_utils.cli"
    code = f"import sys; from {name} import main; sys.exit(main())"
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-c", code, "plan", "plan.yml", "--host", "host.json", "--format", "json"]
    process = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60)
    os.close(writer)
    assert (process.returncode, process.stderr) == (0, b"")
