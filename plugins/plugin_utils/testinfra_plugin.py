# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pytest plugin of the testinfra suite: options, fixtures, and refusal of a run that proves nothing.

It is loaded by every pytest run of an environment that has Carveout installed, so it imports nothing of Carveout
before a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .verification.collect import Evidence

_SUITE = "carveout_evidence"
_HOST = "_testinfra_host"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("carveout", "memory carved out by Carveout")
    group.addoption(
        "--carveout-layouts",
        metavar="DIRECTORY",
        help="the hosts' layouts, as HOST.json; without it each host is held to the layout committed on it",
    )
    group.addoption(
        "--carveout-committed", action="store_true", help="expect each host's layout to be the committed one"
    )
    group.addoption(
        "--carveout-report",
        metavar="FILE",
        help="write expectations and outcomes by host into this file, as JSON",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--carveout-report"):
        from .verification.report import Reporter

        config.pluginmanager.register(Reporter(config), "carveout-reporter")


@pytest.fixture(scope="module")
def carveout_evidence(host: Any, request: pytest.FixtureRequest) -> Evidence:
    """What one host shows: its layout, its snapshot, and raw texts, read once."""
    from .verification.collect import Unusable, collect

    trouble = ""
    try:
        evidence = collect(host, request.config.getoption("--carveout-layouts"))
    except Unusable as error:
        trouble = str(error)
    if trouble:
        pytest.fail(trouble, pytrace=False)
    reporter = request.config.pluginmanager.get_plugin("carveout-reporter")
    if reporter is not None:
        reporter.note(evidence, request.config.getoption("--carveout-committed"))
    return evidence


def pytest_collection_finish(session: pytest.Session) -> None:
    """A run of the suite without hosts, or without one whose layout was given, is a mistake and not a success."""
    ours = [item for item in session.items if _SUITE in getattr(item, "fixturenames", ())]
    if not ours:
        return
    names = {name for item in ours if (name := tested_host(item))}
    if not names:
        raise pytest.UsageError("carveout: no host to verify: --hosts and --ansible-inventory name none")
    folder = session.config.getoption("--carveout-layouts")
    if folder:
        from .verification.collect import given_layouts

        missing = sorted(set(given_layouts(folder)) - names)
        if missing:
            raise pytest.UsageError(
                f"carveout: {folder} has layouts of hosts that are not tested: {', '.join(missing)}"
            )


def tested_host(item: pytest.Item) -> str | None:
    """The host's name in the inventory (localhost for local://); None where pytest was given no host."""
    call = getattr(item, "callspec", None)
    backend = getattr(call.params.get(_HOST), "backend", None) if call else None
    if backend is None:
        return None
    return "localhost" if backend.get_connection_type() == "local" else str(backend.get_hostname())
