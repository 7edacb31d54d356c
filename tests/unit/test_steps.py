# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of a host, and of the exit code, when a step fails or cannot be tried."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import steps
from tests.tenant.host import Host, TenantError


class Pretended(Host):
    """A machine that never runs; what is done to it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        HOSTS.append(self)
        self.done: list[str] = []

    def up(self) -> None:
        self.done.append("up")

    def destroy(self) -> None:
        self.done.append("destroy")

    def hang_up(self) -> None:
        self.done.append("hang up")


HOSTS: list[Pretended] = []


def failing(error: Exception) -> Callable[[Pretended], None]:
    def step(host: Pretended) -> None:
        raise error

    return step


def fine(host: Pretended) -> None:
    host.done.append("fine")


@pytest.mark.parametrize(
    ("step", "status", "said"),
    [
        (fine, 0, ""),
        (failing(TenantError("not as it has to be")), 1, "FAILED: not as it has to be\n"),
        (failing(OSError(28, "No space left on device")), 2, "error: [Errno 28] No space left on device\n"),
    ],
)
def test_the_status_tells_and_the_machine_goes(
    capsys: pytest.CaptureFixture[str], step: Callable[[Pretended], None], status: int, said: str
) -> None:
    todo: steps.Steps[Pretended] = {"one": (step, "it"), "two": (fine, "another")}
    assert steps.run("x", "About.", todo, Pretended, ["one"], begin=Pretended.up) == status
    assert capsys.readouterr().err == said
    assert HOSTS[-1].done[0] == "up" and HOSTS[-1].done[-1] == "destroy"
    assert steps.run("x", "About.", todo, Pretended, ["--keep"], begin=Pretended.up) == status
    assert HOSTS[-1].done[-1] == "hang up"


def test_a_step_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    todo: steps.Steps[Pretended] = {"one": (fine, "what it does")}
    with pytest.raises(SystemExit) as ended:
        steps.run("x", "About.", todo, Pretended, ["three"])
    assert ended.value.code == 2
    assert "there is no step 'three'; there are: one" in capsys.readouterr().err
