# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts of entry files for real loaders: two kernels, the older of them the default."""

from __future__ import annotations

MENU = """\
serial --unit=0 --speed=115200
terminal_output serial
set timeout=0
insmod blsuki
load_env -f ${config_directory}/grubenv
if [ "${next_entry}" ]; then
	set default="${next_entry}"
	set next_entry=
	save_env next_entry
else
	set default="${saved_entry}"
fi
blscfg
"""
OPTIONS = "root=/dev/x ro  console=ttyS0 quiet"
_LOADER_INFO = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

#: Arguments with every printable character that each loader can hand on.
NASTY = (
    "memmap=1G%5G-1+0xefffffff", "memmap=1G!9G", "memmap=4K%5G-1+2", "a=b;c", "d=e|f", "g&h", "i<j>k", "{l}",
    "m#n", "#o", "p(q)", "r`s", "t*u", "v?w", "[x]", "y~z", "~", "!", "@", "^", "a,b", "c:d", "e.f", "g-h", "i_j",
    "k+l", "m%n", "o=p=q", "r==", "=s", "if", "fi", "then", "done", "for", "while", '"name=a b"', '"two  blanks"',
    "x=/dev/sd*", "e!e", "u}v", "%", "1", "0x10",
)  # fmt: skip
#: Further ones that pass in a variable of GRUB, and those that only systemd-boot passes.
VARIABLE = ("memmap=1G$5G", "a=$b", "$c", "$")
PLAIN_LOADER = (*VARIABLE, "it's", "back\\slash", 'x="y z"', "\\$12", "'quoted'")


def tree(kind: str) -> dict[str, str]:
    """The files of a host: ``literal`` and ``variable`` boot by GRUB, ``systemd`` by systemd-boot."""
    options = "$kernelopts $tuned_params" if kind == "variable" else OPTIONS
    options = f"{OPTIONS} $tuned_params" if kind == "literal" else options
    folder = "/efi/loader/entries" if kind == "systemd" else "/boot/loader/entries"
    files = {
        f"{folder}/m-{release}.conf": (
            f"title Linux {release}\nversion {release}\nlinux /boot/vmlinuz-{release}\ninitrd /boot/initrd\n"
            f"options {options}\n"
        )
        for release in ("6.12.0", "6.99.0")
    }
    if kind == "systemd":
        # attributes in four bytes, then UTF-16
        info = b"\6\0\0\0" + "systemd-boot 252".encode("utf-16-le")
        files["/efi/loader/loader.conf"] = "timeout 0\ndefault m-6.12*\n"
        files[_LOADER_INFO] = info.decode("utf-8")
        return files
    variables = ["saved_entry=m-6.12.0", "tuned_params=skew_tick=1"]
    if kind == "variable":
        variables.append(f"kernelopts={OPTIONS}")
    files["/boot/grub2/grub.cfg"] = MENU
    files["/boot/grub2/grubenv"] = "\n".join(["# GRUB Environment Block", *variables, ""]).ljust(1024, "#")
    return files
