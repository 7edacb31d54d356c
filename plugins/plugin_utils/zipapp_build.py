# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host side of Carveout as one file: the core, zipped, with a `__main__.py` that starts it.

A wheel carries the file; in a checkout, or in a collection without it, it is built when it is first needed.
The same sources give the same bytes, so that a checksum tells whether a host has the right one.

Standard library only, and no imports from the collection: the wheel's build loads this file by its path.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

PACKAGE = "carveout_core"
SHEBANG = b"#!/usr/bin/python3\n"

# The first day a zip archive can name (APPNOTE.TXT 4.4.6: MS-DOS dates start with 1980)
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_MAIN = f"import sys\n\nfrom {PACKAGE} import _host_side\n\nsys.exit(_host_side.main())\n"


def zipapp_name(version: str) -> str:
    """The file's name, on hosts and in the wheel."""
    return f"carveout-{version}.pyz"


def build_zipapp(core_dir: Path, out: Path, version: str) -> Path:
    """Write the Python files below `core_dir` to `out` as an executable zipapp and return `out`.

    Deterministic: the content depends on the sources, their names and `version`, nothing else.
    `out` appears whole or not at all. Raises FileNotFoundError where `core_dir` holds no Python file.
    """
    sources = {path.relative_to(core_dir): path.read_bytes() for path in core_dir.rglob("*.py")}
    if not sources:
        raise FileNotFoundError(f"no Python files below {core_dir}")
    members = {f"{PACKAGE}/{name.as_posix()}": content for name, content in sources.items()}
    for name in sources:
        for folder in name.parents:
            members.setdefault(f"{PACKAGE}/{folder.as_posix()}/__init__.py".replace("/./", "/"), b"")
    members["__main__.py"] = _MAIN.encode()

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.comment = f"carveout {version}".encode()
        for member in sorted(members):
            info = zipfile.ZipInfo(member, _TIMESTAMP)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, whatever system builds it
            info.external_attr = 0o100644 << 16
            bundle.writestr(info, members[member], compresslevel=9)

    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".part")
    partial.write_bytes(SHEBANG + archive.getvalue())
    partial.chmod(0o755)
    return partial.replace(out)


def host_zipapp(collection: Path, version: str, out_dir: Path) -> Path:
    """The zipapp of the collection at `collection`: as shipped with it, else built into `out_dir`."""
    shipped = collection / "files" / zipapp_name(version)
    if shipped.is_file():
        return shipped
    return build_zipapp(collection / "plugins" / "module_utils", out_dir / zipapp_name(version), version)
