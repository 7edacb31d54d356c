# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files as others put them on hosts whose menu GRUB generates.

Names, order and assignments are those of real files: of Ubuntu's cloud images (50-cloudimg-settings.cfg), of Debian's
kdump-tools, of TuneD (bootcmdline, 00_tuned, and the variable that its plug-in `bootloader` adds to /etc/default/grub).
"""

from __future__ import annotations

DROP_INS = "/etc/default/grub.d"

#: A cloud image assigns the variable, late among the files, and drops what those before have put there.
CLOUD_IMAGE = """\
# Cloud Image specific Grub settings for Generic Cloud Images
# CLOUD_IMG: This file was created/modified by the Cloud Image build process

# Set the recordfail timeout
GRUB_RECORDFAIL_TIMEOUT=0

# Do not wait on grub prompt
GRUB_TIMEOUT=0

# Set the default commandline
GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"

# Set the grub console type
GRUB_TERMINAL=console
"""
#: Amounts that a host of 5 GiB can spare.
KDUMP = 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT crashkernel=512M-:128M"\n'
#: Somebody's memory argument that is in nobody's way: a MiB at 64 MiB.
HARMLESS = (
    "# bad cell, ticket 4711: do not remove!\n"
    "\n"
    "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX memmap=1M%0x4000000-1+2 'vendor.note=two  words'\"  # by hand\n"
)
#: After ours in the order of the files; no newline at the end, and a tab.
LATE = 'GRUB_CMDLINE_LINUX_DEFAULT="${GRUB_CMDLINE_LINUX_DEFAULT}\taudit=0 \\$tuned_params"  # site policy'
#: TuneD's, whose variables stand in the menu; GRUB puts their values into the command line.
BOOTCMDLINE = """\
# This file specifies additional parameters to kernel boot command line and
# initrd overlay images. Its content is set by the Tuned bootloader plugin.
TUNED_BOOT_CMDLINE="skew_tick=1 tsc=nowatchdog"
TUNED_BOOT_INITRD_ADD=
"""
TUNED_SCRIPT = """\
#! /bin/sh
set -e
. /etc/tuned/bootcmdline
echo "set tuned_params=\\"$TUNED_BOOT_CMDLINE\\""
echo "set tuned_initrd=\\"$TUNED_BOOT_INITRD_ADD\\""
"""
#: What somebody wrote into the file that the menu reads at each boot, with an entry of their own.
CUSTOM = "# rescue\nmenuentry 'Rescue' --id rescue {\n\tlinux /boot/rescue root=LABEL=rescue\n}\n"

FILES: dict[str, tuple[str, int]] = {
    f"{DROP_INS}/10-memory.cfg": (HARMLESS, 0o640),
    f"{DROP_INS}/50-cloudimg-settings.cfg": (CLOUD_IMAGE, 0o644),
    f"{DROP_INS}/kdump-tools.cfg": (KDUMP, 0o644),
    f"{DROP_INS}/zzz-site.cfg": (LATE, 0o600),
    "/etc/tuned/bootcmdline": (BOOTCMDLINE, 0o644),
    "/etc/grub.d/00_tuned": (TUNED_SCRIPT, 0o755),
    "/boot/grub/custom.cfg": (CUSTOM, 0o600),
}
#: In the order of the command line.
ARGUMENTS = (
    "memmap=1M%0x4000000-1+2", '"vendor.note=two  words"', "console=tty1", "crashkernel=512M-:128M", "audit=0",
    "skew_tick=1", "tsc=nowatchdog",
)  # fmt: skip

#: What a plan cannot live with: half a GiB of the second node, in line 3.
CONFLICTING = f"{DROP_INS}/70-others.cfg"
CONFLICT_ARGUMENT, CONFLICT_LINE = "memmap=512M%4096M-1+2", 3
CONFLICT = f"""\
# the old way
#GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {CONFLICT_ARGUMENT}"
GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT {CONFLICT_ARGUMENT}"
"""
