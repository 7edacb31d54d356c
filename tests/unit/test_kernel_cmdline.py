# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module as Ansible runs it, on a host that is a tree of files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.carveout.memory.plugins.module_utils._boot import grub_files
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_files import DROP_IN
from ansible_collections.carveout.memory.plugins.module_utils._boot.grub_menu import next_entry
from ansible_collections.carveout.memory.plugins.module_utils._system import Completed, RealSystem
from ansible_collections.carveout.memory.plugins.modules import kernel_cmdline

OURS = ["carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff", "x=$a"]
MKCONFIG = Path(__file__).parent / "test_boot_data" / "grub-mkconfig"

#: The steps by which a menu is generated and then put where GRUB reads it.
GENERATE = ["run /usr/sbin/grub-mkconfig -o /run/carveout/grub.cfg", "write /boot/grub/grub.cfg"]

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host below a directory; grub-mkconfig is a script that gets the directory."""

    class Host(RealSystem):
        def __init__(self) -> None:
            super().__init__(str(tmp_path))

        def run(self, argv: list[str]) -> Completed:  # type: ignore[override]
            return super().run(["sh", f"{tmp_path}{argv[0]}", str(tmp_path), *argv[1:]])

    files = {
        "etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n',
        "usr/sbin/grub-mkconfig": MKCONFIG.read_text(),
        "proc/cmdline": "BOOT_IMAGE=/boot/vmlinuz-6.12.1-test root=UUID=1 ro quiet\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("boot/grub", "etc/default/grub.d"):
        (tmp_path / name).mkdir(parents=True)
    Host().run(["/usr/sbin/grub-mkconfig"])
    monkeypatch.setattr(kernel_cmdline, "RealSystem", Host)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module with arguments; what it returned."""

    def run(**arguments: object) -> dict[str, Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            kernel_cmdline.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


@pytest.fixture
def with_augeas() -> None:
    try:
        from augeas import Augeas
    except (ImportError, OSError) as error:
        pytest.skip(f"augeas is not installed: {error}")
    Augeas(flags=Augeas.NO_LOAD | Augeas.NO_MODL_AUTOLOAD).close()


def test_a_host_that_boots_by_entry_files_needs_no_augeas(
    root: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_cmdline, "open_augeas", lambda: None)
    (root / "boot/grub2").mkdir()
    (root / "boot/grub2/grub.cfg").write_text("load_env\nset default=${saved_entry}\nblscfg\n")
    (root / "boot/grub2/grubenv").write_text("# GRUB Environment Block\n".ljust(1024, "#"))
    (root / "boot/loader/entries").mkdir(parents=True)
    for release in ("6.1", "6.2"):
        entry = f"title Linux {release}\nlinux /vmlinuz-{release}\noptions root=UUID=1 ro\n"
        (root / f"boot/loader/entries/m-{release}.conf").write_text(entry)
    (root / "etc/default/grub").unlink()
    arguments = OURS[:2]
    done = run(arguments=arguments, kernel="6.1", _ansible_check_mode=True)
    assert (done["changed"], done["reboot_required"]) == (True, True)
    assert done["boot_arguments"] == ["root=UUID=1", "ro", *arguments]
    done = run(arguments=arguments, kernel="6.1")
    assert done["actions"] == [
        "write /boot/loader/entries/m-6.2.conf",
        "write /boot/loader/entries/m-6.1.conf",
        "write /boot/grub2/grubenv",
    ]
    assert done["boot_arguments"] == ["root=UUID=1", "ro", *arguments]
    assert not run(arguments=arguments, kernel="6.1")["changed"]
    refused = run(arguments=OURS)
    assert [problem["code"] for problem in refused["problems"]] == ["argument-not-encodable"]
    assert run(state="absent")["previous"] == arguments
    assert "carveout" not in (root / "boot/grub2/grubenv").read_text()


@pytest.mark.usefixtures("with_augeas")
def test_present_twice_then_absent(root: Path, run: Run) -> None:
    before = (root / "boot/grub/grub.cfg").read_bytes()
    first = run(arguments=OURS)
    assert first["changed"] is True
    assert first["actions"] == [f"write {DROP_IN}", *GENERATE]
    assert first["boot_arguments"] == ["root=UUID=1", "ro", "quiet", *OURS]
    assert (first["previous"], first["reboot_required"]) == ([], True)

    entry = next_entry((root / "boot/grub/grub.cfg").read_text(), lambda path: None)
    (root / "proc/cmdline").write_text(entry.command_line + "\n")
    second = run(arguments=OURS)
    assert (second["changed"], second["actions"], second["reboot_required"]) == (False, [], False)
    assert (second["previous"], second["boot_arguments"]) == (OURS, first["boot_arguments"])

    # the same arguments under the ID of a stored layout: written for the next boot, nothing to reboot for
    folder = root / "etc/carveout/layouts"
    folder.mkdir(parents=True)
    booted = OURS[0].partition("=")[2]
    (folder / f"{booted}.json").write_text(json.dumps({"id": booted, "kernel_arguments": OURS}))
    other = ["carveout.layout=00000000000000ff", *OURS[1:]]
    changed = run(arguments=other)
    assert (changed["changed"], changed["reboot_required"]) == (True, False)
    assert changed["boot_arguments"][-len(other) :] == other
    assert run(arguments=other[:-1])["reboot_required"] is True
    run(arguments=OURS)

    gone = run(state="absent")
    assert (gone["changed"], gone["reboot_required"], gone["previous"]) == (True, True, OURS)
    assert gone["boot_arguments"] == ["root=UUID=1", "ro", "quiet"]
    assert not (root / DROP_IN.lstrip("/")).exists()
    assert (root / "boot/grub/grub.cfg").read_bytes() == before


@pytest.mark.usefixtures("with_augeas")
def test_check_mode_predicts_what_is_then_done_and_touches_nothing(root: Path, run: Run) -> None:
    files = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    predicted = run(arguments=OURS, _ansible_check_mode=True, _ansible_diff=True)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == files
    done = run(arguments=OURS, _ansible_diff=True)
    for answer in (predicted, done):
        answer.pop("invocation", None)  # newer releases of ansible-core leave it out
    assert predicted == done
    drop_in, entry = done["diff"]
    assert drop_in["before"] == ""
    assert drop_in["after"] == (root / DROP_IN.lstrip("/")).read_text()
    assert entry["before"] == "root=UUID=1\nro\nquiet\n"
    assert entry["after"] == entry["before"] + "".join(f"{argument}\n" for argument in OURS)


@pytest.mark.usefixtures("with_augeas")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], "arguments-without-layout", "the first argument has to be carveout.layout="),
        (["memmap=1G%5G-1+2"], "arguments-without-layout", "the first argument has to be carveout.layout="),
        ([*OURS, "it's"], "argument-not-encodable", "the argument it's cannot reach the kernel"),
        ([*OURS, "a b"], "argument-invalid", "'a b' is not one kernel argument"),
    ],
)
def test_refusals_are_one_message_and_change_nothing(
    root: Path, run: Run, arguments: list[str], code: str, said: str
) -> None:
    result = run(arguments=arguments)
    assert result["failed"] is True
    assert said in result["msg"]
    assert [problem["code"] for problem in result["problems"]] == [code]
    assert "Traceback" not in json.dumps(result)
    assert not (root / DROP_IN.lstrip("/")).exists()


@pytest.mark.usefixtures("root")
def test_arguments_are_required_for_present(run: Run) -> None:
    assert run()["msg"] == "state is present but all of the following are missing: arguments"


@pytest.mark.usefixtures("root")
def test_without_root_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "become: true" in run(arguments=OURS)["msg"]


@pytest.mark.usefixtures("root")
def test_without_augeas_another_interpreter_is_looked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "augeas", None)
    asked: list[Any] = []
    monkeypatch.setattr(kernel_cmdline, "probe_interpreters_for_module", lambda *args: asked.append(args))
    result = run(arguments=OURS)
    assert asked == [(("/usr/bin/python3", "/usr/libexec/platform-python"), "augeas")]
    assert result["msg"].endswith("install the package python3-augeas")


@pytest.mark.usefixtures("with_augeas")
def test_removal_needs_no_augeas(root: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (root / "boot/grub/grub.cfg").read_bytes()
    run(arguments=OURS)
    monkeypatch.setitem(sys.modules, "augeas", None)
    assert run(state="absent")["changed"] is True
    assert (root / "boot/grub/grub.cfg").read_bytes() == before
    assert run(state="absent")["changed"] is False


@pytest.mark.usefixtures("with_augeas", "root")
def test_a_missing_lens_is_one_message(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grub_files, "LENS", "Nothing.lns")
    result = run(arguments=OURS)
    assert [problem["code"] for problem in result["problems"]] == ["augeas-unusable"]
    assert result["msg"].endswith("is the package augeas-lenses installed?")


def test_documentation_and_specification_agree() -> None:
    documentation = yaml.safe_load(kernel_cmdline.DOCUMENTATION)
    assert set(documentation["options"]) == {"arguments", "state", "kernel", "measured"}
    assert documentation["extends_documentation_fragment"] == ["carveout.memory.attributes"]
    returned = set(yaml.safe_load(kernel_cmdline.RETURN))
    assert returned == {"actions", "reboot_required", "boot_arguments", "previous", "problems"}
    for task in yaml.safe_load(kernel_cmdline.EXAMPLES):
        assert set(task) & {"carveout.memory.kernel_cmdline", "ansible.builtin.reboot"}
