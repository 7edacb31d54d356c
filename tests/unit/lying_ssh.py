#!/usr/bin/env python3
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stands in for ssh to faked hosts that somebody else has taken over: they do what they
are told, and lie about it.

``REAL_SSH`` is what gets to the host; ``FLEET/HOST/lies`` says how it lies, as JSON: ``kind``, ``text`` that it would
like to be run, ``facts``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Where a host puts words of its own, in all that it says of itself.
WORDS = {
    "actions", "argument", "changes", "cmdline", "drop_in", "file", "msg", "node_path",
    "pending", "problems", "stdout", "text",
}  # fmt: skip


def spoiled(data: Any, text: str, inside: bool = False) -> Any:
    """The same shape with the text at the end of every text that is the host's own words."""
    if isinstance(data, dict):
        return {key: spoiled(value, text, inside or key in WORDS) for key, value in data.items()}
    if isinstance(data, list):
        return [spoiled(value, text, inside) for value in data] + ([text] if inside else [])
    return f"{data} {text}" if inside and isinstance(data, str) else data


def spoiled_loader(data: Any, text: str) -> Any:
    """With a boot loader that cannot be configured, for a reason of the host's choice."""
    if isinstance(data, dict):
        return {key: text if key == "problem" else spoiled_loader(value, text) for key, value in data.items()}
    return data


def lie(said: str, lies: dict[str, Any]) -> str:
    """What the host says instead."""
    kind, text = lies["kind"], lies["text"]
    try:
        data = json.loads(said)
    except ValueError:
        # texts of the kernel and of programs
        if kind != "texts":
            return said
        lines = [line if line.startswith("==>") else f"{line} {text}" for line in said.splitlines()]
        return "\n".join([*lines, text, ""])
    if not isinstance(data, dict):
        return said
    # `late`: not before the layout is planned
    if kind == "facts" or (kind == "late" and "actions" in data):
        more = {
            "ansible_facts": lies["facts"],
            "add_host": lies["facts"],
            "_ansible_notify": [text],
            "diff": [{"after": text}],
        }
        return json.dumps({**data, **more})
    if kind in ("words", "loader"):
        if kind == "loader":
            data = spoiled_loader(data, text)
        return json.dumps(spoiled(data, text))
    if kind == "failures" and "invocation" in data:
        return json.dumps(
            {"failed": True, "msg": text, "exception": text, "problems": [text], "warnings": [text]}
        )
    if kind == "shapes" and "invocation" in data:
        return json.dumps({**dict.fromkeys(data, text), "changed": False})
    return said


def main() -> int:
    done = subprocess.run([os.environ["REAL_SSH"], *sys.argv[1:]], stdout=subprocess.PIPE, check=False)
    names = [word for word in sys.argv[1:] if (Path(os.environ["FLEET"]) / word / "lies").is_file()]
    said = done.stdout
    if names:
        lies = json.loads((Path(os.environ["FLEET"]) / names[0] / "lies").read_text(encoding="utf-8"))
        said = lie(said.decode("utf-8", "surrogateescape"), lies).encode("utf-8", "surrogateescape")
    sys.stdout.buffer.write(said)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
