# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All forms of the report into a directory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from .junit import report_junit
from .page import report_page
from .record import Record, read_record
from .summary import report_json, report_text


def write_report(hosts: Sequence[str], records: str, directory: Path) -> None:
    """report.txt, .json, .xml and .html, each of them whole or as before. Raises OSError."""

    def found() -> Iterable[Record]:
        return (read_record(records, host) for host in hosts)

    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "report.txt", [report_text(found())])
    _write(directory / "report.json", [json.dumps(report_json(found()), indent=1), "\n"])
    _write(directory / "report.xml", [report_junit(found())])
    _write(directory / "report.html", report_page(hosts, lambda host: read_record(records, host)))


def _write(path: Path, pieces: Iterable[str]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(pieces)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
