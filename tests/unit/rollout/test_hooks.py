# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ready-made hooks, by real Ansible, on programs that take only what the real ones' help says.

``help/`` is what virsh 9.0 (Debian 12) and kubectl 1.32 print for ``help COMMAND`` and ``COMMAND --help``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faked_hooks import play as play_hooks

HELP = Path(__file__).with_name("help")

#: Reads the help of a command, refuses what it does not name, then does what the test's file of answers says.
_PROGRAM = """#!{python}
import json, re, sys
from pathlib import Path
name, words = {name!r}, sys.argv[1:]
options = {{}}
while words and words[0].startswith("-"):
    word = words.pop(0)
    if word not in {common!r}:
        sys.exit(f"error: unknown option {{word}}")
    options[word] = words.pop(0)
command = words.pop(0)
page = Path({help!r}, f"{{name}}-{{command}}.txt").read_text()
known = dict(re.findall(r"^\\s+(?:-\\w, )?(--[a-z0-9-]+)(=| <|)", page, re.M))
places = []
for word in words:
    if not word.startswith("--"):
        places.append(word)
        continue
    option, equals, value = word.partition("=")
    if option not in known:
        sys.exit(f"error: command '{{command}}' doesn't support option {{word}}")
    if name == "virsh" and (equals or known[option]):
        sys.exit(f"error: {{word}} takes its value as the next word")
wanted = {{"list": 0, "migrate": 2, "cordon": 1, "uncordon": 1, "drain": 1, "get": 2, "annotate": 3}}[command]
if len(places) != wanted:
    sys.exit(f"error: {{command}} takes {{wanted}} words, not {{places}}")
log = Path({log!r})
with log.open("a") as file:
    print(json.dumps([*options.values(), command, *sys.argv[sys.argv.index(command) + 1:]]), file=file)
answers = json.loads(Path({answers!r}).read_text())
for key, answer in answers.items():
    if key in " ".join([command, *words]):
        if answer is None:
            sys.exit("error: it cannot be done")
        print(answer)
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, common in (("virsh", ("--connect", "-c")), ("kubectl", ("--context",))):
        text = _PROGRAM.format(
            python=sys.executable, name=name, common=common, help=str(HELP), log=str(tmp_path / "calls"),
            answers=str(tmp_path / "answers"),
        )  # fmt: skip
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def play(programs: Path, *hooks: str, answers: dict[str, str | None], **variables: object) -> tuple[int, str]:
    """Runs the hooks with these programs; ``answers`` by words of the command, None where it fails."""
    (programs.parent / "answers").write_text(json.dumps(answers))
    return play_hooks(programs.parent, *hooks, programs=programs, **variables)


def calls(programs: Path) -> list[str]:
    path = programs.parent / "calls"
    return [" ".join(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


AWAY = "qemu+ssh://spare/system"


def test_guests_leave_live_and_come_back(programs: Path) -> None:
    status, said = play(
        programs, "libvirt_drain", "libvirt_restore",
        answers={"list": "web\ndb with blank\n"}, carveout_libvirt_target=AWAY,
    )  # fmt: skip
    assert status == 0 and "_drain failed" not in said and "_restore failed" not in said, said
    own, live = "qemu:///system", "--live --persistent --undefinesource"
    assert calls(programs) == [
        f"{own} list --name --state-running",
        f"{own} migrate {live} web {AWAY}",
        f"{own} migrate {live} db with blank {AWAY}",
        f"{AWAY} migrate {live} web {own}",
        f"{AWAY} migrate {live} db with blank {own}",
    ]


def test_a_guest_that_cannot_leave_fails_the_drain_and_the_others_come_back(programs: Path) -> None:
    _, said = play(
        programs, "libvirt_drain", "libvirt_restore",
        answers={"list": "web\nstuck\n", "stuck": None}, carveout_libvirt_target=AWAY,
    )  # fmt: skip
    assert "libvirt_drain failed" in said and "libvirt_restore failed" not in said, said
    assert [call for call in calls(programs) if call.startswith(AWAY)] == [
        f"{AWAY} migrate --live --persistent --undefinesource web qemu:///system"
    ]


def test_a_drain_to_nowhere_asks_for_the_place(programs: Path) -> None:
    _, said = play(programs, "libvirt_drain", answers={})
    assert "carveout_libvirt_target is missing" in said and calls(programs) == []


LOOK = r"get node node-1 --output=jsonpath={.spec.unschedulable},{.metadata.annotations.carveout\.memory/cordoned}"
DRAIN = "drain node-1 --ignore-daemonsets --delete-emptydir-data --timeout=900s"


def test_a_node_is_cordoned_drained_and_uncordoned(programs: Path) -> None:
    play(programs, "kubernetes_drain", answers={"get": ","})
    assert calls(programs) == [
        LOOK, "annotate node node-1 carveout.memory/cordoned=true --overwrite", "cordon node-1", DRAIN
    ]  # fmt: skip
    (programs.parent / "calls").unlink()
    play(programs, "kubernetes_restore", answers={"get": "true,true"})
    assert calls(programs) == [LOOK, "uncordon node-1", "annotate node node-1 carveout.memory/cordoned-"]


def test_a_node_that_somebody_else_cordoned_stays_so(programs: Path) -> None:
    play(programs, "kubernetes_drain", "kubernetes_restore", answers={"get": "true,"})
    assert calls(programs) == [LOOK, DRAIN, LOOK]


def test_pods_that_do_not_go_fail_the_drain(programs: Path) -> None:
    _, said = play(
        programs, "kubernetes_drain", answers={"get": ",", "drain": None}, carveout_kubernetes_node="n9",
        carveout_kubectl=["kubectl", "--context", "lab"],
    )  # fmt: skip
    assert "kubernetes_drain failed" in said
    assert calls(programs)[-1].startswith("lab drain n9 ")


def test_the_programs_refuse_what_the_real_ones_refuse(programs: Path) -> None:
    (programs.parent / "answers").write_text("{}")
    for words in (
        ["virsh", "migrate", "--nosuch", "a", "b"], ["virsh", "migrate", "--live", "a"],
        ["virsh", "list", "--name=x"], ["kubectl", "drain", "--delete-local-data", "n"], ["kubectl", "cordon"],
    ):  # fmt: skip
        done = subprocess.run([programs / words[0], *words[1:]], capture_output=True, text=True, check=False)
        assert done.returncode != 0, words


@pytest.mark.parametrize("name", ["virsh", "kubectl"])
def test_the_recorded_help_has_what_the_installed_program_says(name: str) -> None:
    """Options that the hooks use, of whatever version is installed here."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    used = {
        "migrate": ["--live", "--persistent", "--undefinesource"], "list": ["--name", "--state-running"],
        "drain": ["--ignore-daemonsets", "--delete-emptydir-data", "--timeout"], "annotate": ["--overwrite"],
    }  # fmt: skip
    for page in HELP.glob(f"{name}-*.txt"):
        command = page.stem.partition("-")[2]
        words = ["help", command] if name == "virsh" else [command, "--help"]
        told = subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout
        for option in used.get(command, []):
            assert option in told and option in page.read_text(), (command, option)
