# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of QEMU's machine protocol: one command, one answer."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TextIO

from .errors import LabError


def execute(path: Path, command: str, *, timeout: float = 10.0) -> object:
    """Send ``command`` to the QMP socket ``path`` and return its answer; LabError when nobody answers."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            # by way of the directory's descriptor: a socket's path may not be longer than 107 bytes
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.readline()  # the greeting
                answer: object = None
                for name in ("qmp_capabilities", command):
                    stream.write(json.dumps({"execute": name}) + "\n")
                    stream.flush()
                    answer = _answer(stream, name)
                return answer
    except (OSError, ValueError) as error:
        raise LabError(f"QEMU does not answer on {path.name}: {error}") from error
    finally:
        os.close(directory)


def _answer(stream: TextIO, name: str) -> object:
    while True:
        line = stream.readline()
        if not line:
            # `quit` may end QEMU before its answer is out
            if name == "quit":
                return None
            raise ValueError("connection closed")
        message = json.loads(line)
        if "return" in message:
            return message["return"]
        if "error" in message:
            raise LabError(f"QEMU refused {name}: {message['error'].get('desc', message['error'])}")
