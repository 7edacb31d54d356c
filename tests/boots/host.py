# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's machine with one of its boot loaders, and a list of its boots."""

from __future__ import annotations

import json
from typing import Any

from tests.safety.host import SafetyHost, State

_LIST = "/var/lib/boots"
_UNIT = "boots.service"
#: Notes the command line of each boot.
_FILES = {
    f"/etc/systemd/system/{_UNIT}": (
        f"[Service]\nType=oneshot\nExecStart=/bin/sh -c 'cat /proc/cmdline >> {_LIST}; sync {_LIST}'\n"
        "[Install]\nWantedBy=sysinit.target\n".encode(),
        0o644,
    )
}
#: Where what was found on the host before anything was done is kept between two steps.
_BARE = "/var/lib/boots.json"


class BootHost(SafetyHost):
    """A host that notes its boots."""

    @property
    def has_grub(self) -> bool:
        return str(self._flavour.loader) == "grub"

    def note_boots(self) -> None:
        """Begin the list."""
        self.send(_FILES)
        self.run("systemctl", "enable", _UNIT)

    def boots(self) -> list[str]:
        """The command lines of all boots that got as far as systemd, since the list was begun."""
        return self.run("cat", _LIST, check=False).splitlines()

    def _installed(self) -> bool:
        """Nothing of ours is there before the first run, and after the rollback."""
        return bool(self.run("find", "/usr/lib/carveout", "-name", "*.pyz", check=False))

    def await_devices(self) -> None:
        if self._installed():
            super().await_devices()

    def devices(self) -> dict[str, dict[str, Any]]:
        return super().devices() if self._installed() else {}

    def measure(self) -> State:
        state = super().measure()
        # what boots once, and by default: systemd-boot tells the rest of itself at each boot
        names = ["-name", "LoaderEntryOneShot*", "-o", "-name", "LoaderEntryDefault*"]
        words = ["find", "/sys/firmware/efi/efivars", "(", *names, ")", "-exec", "sha256sum", "{}", "+"]
        found = self.run(*words, check=False).splitlines()
        variables = {path: digest for digest, path in (line.split(None, 1) for line in found)}
        return state._replace(files={**state.files, **variables})

    def remember(self, state: State) -> None:
        self.run("tee", _BARE, stdin=json.dumps(state).encode())

    def remembered(self) -> State:
        state = State(*json.loads(self.run("cat", _BARE)))
        return state._replace(ram=tuple(state.ram))

    def reboot(self) -> None:
        """Reboot, and wait until it is there again."""
        before = self.boot_id()
        # the login may end before its command has
        self.run("systemctl", "--no-block", "reboot", check=False)
        self.await_reboot(before)
