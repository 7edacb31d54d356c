#!/usr/bin/python
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_cmdline
short_description: Put the kernel arguments of a memory layout into the boot entry
version_added: 0.1.0
author:
  - Contributors to the Carveout project (@carveout)
description:
  - On hosts whose GRUB boots a generated menu (the Debian family), writes the kernel arguments of a layout into a
    drop-in of its own, C(/etc/default/grub.d/zz-carveout.cfg), has the menu generated, and reads back from it what the
    entry that boots next hands to its kernel.
  - On hosts whose GRUB boots by entry files (C(blscfg); Fedora, RHEL 8 and later and their relatives), puts the
    arguments into every entry but the rescue entry, and into what later kernels get theirs from (C(kernelopts) in
    C(grubenv), C(/etc/kernel/cmdline), C(GRUB_CMDLINE_LINUX) in C(/etc/default/grub), where they are there), and
    reads back what GRUB makes of it. No augeas is needed.
  - On hosts of systemd-boot, the same with its entry files and C(/etc/kernel/cmdline). Which of these a host is, its
    files say.
  - Arguments reach C(/proc/cmdline) exactly as they are given, C($) and shell characters too. What GRUB's loader would
    change on the way (single quotes, backslashes, double quotes other than around a whole argument
    with blanks) is refused before anything is written.
  - Arguments of others are never rewritten, reordered or dropped. Where they are not the same after the menu was
    generated, or ours are not there as one unbroken run, every file is put back and the module fails.
  - The drop-in is edited through augeas, which also has to be able to read C(/etc/default/grub) and the other drop-ins.
    What counts is never these files, but the generated entry and C(/proc/cmdline).
  - Ends a trial boot that M(carveout.memory.trial_boot) prepared; what is written here is permanent.
  - Takes away what a run that was killed left beside the files that it was writing.
  - Does not reboot; RV(reboot_required) tells whether the running kernel still has other arguments.
options:
  arguments:
    description:
      - The C(kernel_arguments) of a layout, in their order, the first of them C(carveout.layout=ID).
      - Required for O(state=present).
    type: list
    elements: str
  state:
    description:
      - V(present) makes O(arguments) stand in the entry that boots next, as one unbroken run.
      - V(absent) removes the drop-in and all arguments that it brought, or takes ours out of every entry file.
    type: str
    choices: [present, absent]
    default: present
  kernel:
    description:
      - Release of the kernel whose entry boots by default, as C(uname -r) shows it. An entry for it has to be there.
      - Without it the default entry is not Carveout's; what was chosen by this option before is taken back.
      - On hosts of systemd-boot a kernel that does not boot by default anyway is refused.
      - Only for O(state=present).
    type: str
  measured:
    description:
      - C(state.loader.owned) of the snapshot that O(arguments) were planned for. Where the boot loader has other
        arguments of Carveout's now, another run is at work, and this one is refused. Without it, that is not looked at.
    type: list
    elements: str
requirements:
  - root
  - GRUB with C(/etc/default/grub), C(/etc/default/grub.d) and C(/boot/grub/grub.cfg), as the Debian family has it,
    and then python3-augeas on the managed host for O(state=present); or
  - GRUB with entry files in C(/boot/loader/entries), or systemd-boot
attributes:
  check_mode:
    description: Predicts the drop-in and the boot entry without touching the host.
  diff_mode:
    description: Returns the drop-in and the command line of the boot entry, one argument a line, before and after.
extends_documentation_fragment:
  - carveout.memory.attributes
seealso:
  - module: carveout.memory.memory_plan
  - module: carveout.memory.dax_devices
  - module: carveout.memory.trial_boot
"""

EXAMPLES = r"""
- name: Write the arguments of the layout
  carveout.memory.kernel_cmdline:
    arguments: "{{ carveout_plan.layout.kernel_arguments }}"
  become: true
  register: carveout_boot

- name: Reboot where the kernel runs with others
  ansible.builtin.reboot:
  become: true
  when: carveout_boot.reboot_required

- name: Take the arguments away again
  carveout.memory.kernel_cmdline:
    state: absent
  become: true
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, in order.
  returned: success
  type: list
  elements: str
  sample:
    - write /etc/default/grub.d/zz-carveout.cfg
    - run /usr/sbin/grub-mkconfig -o /run/carveout/grub.cfg
    - write /boot/grub/grub.cfg
reboot_required:
  description:
    - Whether the running kernel is another than O(kernel), or was booted with other arguments of ours than it should
      be.
    - With O(state=present), whether O(arguments) do not stand in C(/proc/cmdline) as one unbroken run. The ID alone
      may be another one where the host stores that layout. Then only devices differ, and
      M(carveout.memory.dax_devices) changes them without a reboot.
    - With O(state=absent), whether any C(carveout.layout=) stands there.
  returned: success
  type: bool
boot_arguments:
  description:
    - What the entry that boots next hands to its kernel after the change, arguments of others included and GRUB's own
      C(BOOT_IMAGE=) left out. In check mode the prediction.
  returned: success
  type: list
  elements: str
  sample: ["root=UUID=0f1c", "ro", "quiet", "carveout.layout=0123456789abcdef", "memmap=1G%5G-1+0xefffffff"]
previous:
  description: Our arguments in the drop-in or the entries before the change; empty where there were none.
  returned: success
  type: list
  elements: str
  sample: []
problems:
  description: What is wrong.
  returned: failure
  type: list
  elements: dict
  contains:
    path:
      description: What it is about.
      type: str
      sample: boot
    code:
      description: A word for programs.
      type: str
      sample: boot-configuration-unparsable
    message:
      description: What is wrong and what would work.
      type: str
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ansible_collections.carveout.memory.plugins.module_utils._boot.loader import (
    apply,
    check_same,
    needs_augeas,
    plan,
    read_loader,
)
from ansible_collections.carveout.memory.plugins.module_utils._boot.trial import end, leftovers
from ansible_collections.carveout.memory.plugins.module_utils._errors import CarveoutError
from ansible_collections.carveout.memory.plugins.module_utils._host.augeas_binding import (
    SYSTEM_PYTHONS,
    open_augeas,
)
from ansible_collections.carveout.memory.plugins.module_utils._lock import BOOT, exclusive
from ansible_collections.carveout.memory.plugins.module_utils._remains import clear, remains
from ansible_collections.carveout.memory.plugins.module_utils._system import RealSystem


def load_augeas(module: AnsibleModule, system: RealSystem) -> Any:
    """The binding, from another interpreter of the host if this one has none.

    Only drop-ins that are written go through augeas: removal does without it, where nobody can install it any more.
    """
    augeas = open_augeas()
    if augeas is not None or module.params["state"] == "absent" or not needs_augeas(system):
        return augeas
    interpreter = None if has_respawned() else probe_interpreters_for_module(SYSTEM_PYTHONS, "augeas")
    if interpreter:
        respawn_module(interpreter)
    module.fail_json(
        msg="augeas is missing: no Python of this host can import it; install the package python3-augeas",
        problems=[],
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "arguments": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "kernel": {"type": "str"},
            "measured": {"type": "list", "elements": "str"},
        },
        required_if=[("state", "present", ["arguments"])],
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="the boot loader is configured by root; use become: true", problems=[])
    system = RealSystem()
    augeas = load_augeas(module, system)
    present = module.params["state"] == "present"
    wanted = module.params["arguments"] if present else None
    kernel = (module.params["kernel"] or "") if present else ""
    try:
        with exclusive(BOOT):
            before = read_loader(system, augeas)
            if module.params["measured"] is not None:
                check_same(before, module.params["measured"])
            change = plan(system, augeas, before, wanted, kernel)
            ended = [edit.action for edit in leftovers(system)]
            after = before if module.check_mode else apply(system, augeas, change)
            left = remains(system)
            if not module.check_mode:
                if ended:
                    end(system)
                clear(system, left)
            ended += [f"remove {path}" for path in left]
    except CarveoutError as error:
        module.fail_json(msg=str(error), problems=[problem.to_json() for problem in error.problems])
    except OSError as error:
        module.fail_json(msg=f"cannot end the trial boot: {error}", problems=[])
    predicted = change.changed and module.check_mode
    module.exit_json(
        changed=change.changed or bool(ended),
        actions=[*change.actions, *ended],
        reboot_required=change.reboot_required,
        boot_arguments=list(change.arguments if predicted else after.boot_arguments or ()),
        previous=list(before.owned),
        diff=change.diff,
    )


if __name__ == "__main__":
    main()
