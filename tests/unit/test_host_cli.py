# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``carveout host`` and the module host_info, as they are called."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput, NotPossible
from ansible_collections.carveout.memory.plugins.module_utils._host.json import host_from_json
from ansible_collections.carveout.memory.plugins.plugin_utils import cli_host

LOG = """\
[    0.000000] Linux version 6.12.1 (builder@host) (gcc) #1 SMP
[    0.000000] Command line: root=/dev/vda1 quiet
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000007fffffff] usable
"""


def carveout_host(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli_host.add_parser(parser.add_subparsers())
    return cli_host.run(parser.parse_args(["host", *arguments]))


def test_from_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dmesg").write_bytes(LOG.encode() + b"[    1.0] driver: \xff\xfe\n")
    assert carveout_host("--dmesg", str(tmp_path / "dmesg")) == 0
    host = host_from_json(json.loads(capsys.readouterr().out))
    assert host.kernel == "6.12.1"
    assert host.usable.size == 2 << 30
    assert host.state == {}


def test_from_standard_input() -> None:
    code = (
        "import argparse\n"
        "from ansible_collections.carveout.memory.plugins.plugin_utils import cli_host\n"
        "raise SystemExit(cli_host.run(argparse.Namespace(dmesg='-', root=None)))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=LOG, capture_output=True, text=True, check=True)
    assert host_from_json(json.loads(done.stdout)).kernel == "6.12.1"


def test_from_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = tmp_path / "sys/firmware/memmap/0"
    entry.mkdir(parents=True)
    for name, text in (("start", "0x0"), ("end", "0x7fffffff"), ("type", "System RAM")):
        (entry / name).write_text(text + "\n")
    assert carveout_host("--root", str(tmp_path)) == 0
    host = host_from_json(json.loads(capsys.readouterr().out))
    assert host.architecture == "x86_64"
    assert host.usable.size == 2 << 30
    assert host.state["root"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dmesg", "/nowhere/at/all"], "/nowhere/at/all: No such file"),
        (["--dmesg", "/"], "/: Is a directory"),
        (["--dmesg", "/dev/null"], "no firmware memory map"),
        (["--dmesg", "/dev/zero"], "larger than 64 MiB"),
        (["--root", "/nowhere/at/all"], "not a folder"),
    ],
)
def test_what_cannot_be_read(arguments: list[str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        carveout_host(*arguments)


def test_an_empty_folder_is_no_host(tmp_path: Path) -> None:
    with pytest.raises(NotPossible, match="/sys/firmware/memmap is missing"):
        carveout_host("--root", str(tmp_path))


@pytest.mark.parametrize(
    "arguments", [[], ["--root", "/", "--dmesg", "-"], ["--dmesg", "-", "--format", "svg"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        carveout_host(*arguments)
    assert caught.value.code == 2


def run_module(folder: Path, *options: str) -> dict[str, Any]:
    """Run host_info on this machine as Ansible does; its result."""
    arguments = ["localhost", "-i", "localhost,", "-c", "local", "-m", "carveout.memory.host_info", *options]
    environment = {
        **os.environ,
        "HOME": str(folder),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        "ANSIBLE_COLLECTIONS_PATH": str(Path(__file__).resolve().parents[2] / "collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    ansible = Path(sys.executable).with_name("ansible")
    done = subprocess.run(
        [str(ansible), *arguments, "-e", f"ansible_python_interpreter={sys.executable}"],
        capture_output=True, text=True, check=False, cwd=folder, env=environment,
    )  # fmt: skip
    head, brace, rest = done.stdout.partition("=> {")
    assert brace, done.stdout + done.stderr
    result: dict[str, Any] = json.loads("{" + rest)
    assert "Traceback" not in done.stdout + done.stderr
    assert ("SUCCESS" in head) == (done.returncode == 0)
    return result


@pytest.mark.skipif(os.geteuid() != 0, reason="hosts are measured as root")
def test_the_module_measures_this_machine_or_says_why_not(tmp_path: Path) -> None:
    result = run_module(tmp_path, "--check")
    assert result["changed"] is False
    if "host" in result:
        host = host_from_json(result["host"])
        assert host.architecture == os.uname().machine
        assert host.cmdline == Path("/proc/cmdline").read_text().rstrip("\n")
        assert host.kernel_running == os.uname().release
        assert not [problem for problem in host.state["problems"] if problem.startswith("/proc/")]
    else:  # a container hides the firmware
        assert result["problems"][0]["code"] == "map-missing"
        assert not Path("/sys/firmware/memmap/0").exists()


def test_the_module_needs_root() -> None:
    code = (
        "import os\n"
        "from ansible.module_utils import basic\n"
        "from ansible_collections.carveout.memory.plugins.modules import host_info\n"
        "basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = b'{\"ANSIBLE_MODULE_ARGS\": {}}', 'legacy'\n"
        "os.geteuid = lambda: 65534\n"
        "host_info.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["failed"] is True
    assert "become: true" in result["msg"]
    assert result["problems"] == []
