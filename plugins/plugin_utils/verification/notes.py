# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be told of a host that is as its layout says: a firmware that moved a little, a kernel new to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MAP = "map of the firmware"


def notes(expectations: Sequence[Mapping[str, Any]], snapshot: Mapping[str, Any] | None) -> list[str]:
    """Of the verification's JSON; none where there is nothing to tell, or nothing is known."""
    told = [
        str(e["message"])
        for e in expectations
        if e["name"] == _MAP and e["met"] and "are not as they were" in e["message"]
    ]
    if snapshot is not None:
        verified, running = verified_with(snapshot), str(snapshot["kernel"]["running"])
        if verified is not None and verified != running:
            known = f"the kernel {verified}" if verified else "no known kernel"
            told.append(
                f"the record says that the layout was verified with {known}, {running} runs; the main job verifies it"
                " anew and records that"
            )
    return told


def verified_with(snapshot: Mapping[str, Any]) -> str | None:
    """The release on record for the committed layout; None where none is committed, or nothing is known of it."""
    if not snapshot.get("committed") or "verified" not in snapshot["state"]:
        return None
    return str(snapshot["state"]["verified"])
