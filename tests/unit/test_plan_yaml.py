# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""YAML's traps: each is refused with its line instead of being read as something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.carveout.memory.plugins.module_utils._errors import InvalidInput
from ansible_collections.carveout.memory.plugins.plugin_utils.plan_yaml import load_plan


def refused(text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_plan(text, "plan.yml")
    assert len(caught.value.problems) == 1
    assert "plan.yml" in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("text", "path", "code", "words"),
    [
        ("a: {mode: 0660}", "a.mode", "number-octal", 'quote it: "0660" (plan.yml, line 1)'),
        ("a:\n  - x\n  - -010", "a[1]", "number-octal", "(plan.yml, line 3)"),
        ("a: 1:30", "a", "number-sexagesimal", 'quote it: "1:30"'),
        ("a: 1:30:00.5", "a", "number-sexagesimal", "base 60"),
        ("0660: a", "", "number-octal", "octal"),
        ("a: 1\nb: 2\na: 3", "a", "key-duplicate", "twice (plan.yml, line 3)"),
        ("pools:\n  0: 1\n  '0': 2", "pools.0", "key-duplicate", "line 3"),
        ("yes: 1", "", "key-invalid", "'yes' must be quoted: YAML reads it as True"),
        ("pools: {no: 1}", "pools", "key-invalid", "'no' must be quoted: YAML reads it as False"),
        ("~: 1", "", "key-invalid", "reads it as None"),
        ("1.5: 1", "", "key-invalid", "reads it as 1.5"),
        ("[a]: 1", "", "key-invalid", "a plain name or number"),
        ("{a: 1}: 1", "", "key-invalid", "a plain name or number"),
        ("2026-11-23: 1", "", "yaml-type", "as a date"),
        ("a: 2026-11-23", "a", "yaml-type", "reads '2026-11-23' as a date; put it in quotes"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "c", "key-invalid", "<<"),
        ("a: !!binary aGk=", "a", "yaml-type", "bytes"),
        ("a: !!bool x", "a", "yaml-tag", "cannot be read"),
        ("a: !!int x", "a", "yaml-tag", "cannot be read"),
        ("a: !!int ''", "a", "yaml-tag", "cannot be read"),
        ("a: !!int '0660'", "a", "number-octal", "octal"),
        ("a: !!timestamp x", "a", "yaml-tag", "cannot be read"),
        ("a: !vault x", "a", "yaml-tag", "'!vault'"),
        ("a: !!set {b, c}", "a", "yaml-tag", "'tag:yaml.org,2002:set'"),
        ("a: !!omap [b: 1]", "a", "yaml-tag", "omap"),
        ("a: !!python/name:os.system x", "a", "yaml-tag", "python/name"),
        ("a: !!python/object/apply:os.system [reboot]", "a", "yaml-tag", "python/object"),
        ("!!python/object/new:dict {a: 1}", "", "yaml-tag", "python/object"),
        ("&a [*a]", "[0][0][0][0][0][0][0][0][0][0][0][0][0]", "yaml-too-deep", "deeply"),
        ("a: *b", "", "yaml-invalid", "undefined alias"),
        ("", "", "plan-empty", "empty"),
        ("~", "", "plan-empty", "empty"),
        ("# nothing\n---\n", "", "plan-empty", "empty"),
        ("a: 1\n---\nb: 1", "", "yaml-invalid", "line 2, column 1: but found another document"),
        ("a: [1", "", "yaml-invalid", "line 1"),
        ("a:\tb: c", "", "yaml-invalid", "line 1"),
        ("\x00", "", "yaml-invalid", "not YAML: unacceptable character"),
        ("a: " + "[" * 13 + "]" * 13, "a" + "[0]" * 12, "yaml-too-deep", "deeply"),
        ("[" * 1100, "", "yaml-invalid", "not YAML"),
        ("a: " + "x" * (1 << 20), "", "yaml-too-large", "1 MiB"),
    ],
)
def test_traps(text: str, path: str, code: str, words: str) -> None:
    (problem,) = refused(text).problems
    assert (problem.path if path else "") == path
    assert problem.code == code
    assert words in problem.message


def test_a_billion_laughs_are_cut_short() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for n in range(9):
        text += f"a{n + 1}: &a{n + 1} [" + ", ".join([f"*a{n}"] * 10) + "]\n"
    (problem,) = refused(text).problems
    assert problem.code == "yaml-too-large"
    assert "more than 10000 values" in problem.message


def test_what_is_read() -> None:
    text = """
        version: 1
        sizes: [0, 16GiB, 0x2000000000, 1_000, "0660", '1:30', 5%, ~, true, 1.5, -3]
        nodes: {0: a, "1": b, 0x10: c}
        text: |
          two
          lines
        shared: &s {size: 1GiB}
        again: *s
    """
    assert load_plan(text, "x") == {
        "version": 1,
        "sizes": [0, "16GiB", 0x2000000000, 1000, "0660", "1:30", "5%", None, True, 1.5, -3],
        "nodes": {"0": "a", "1": "b", "16": "c"},
        "text": "two\nlines\n",
        "shared": {"size": "1GiB"},
        "again": {"size": "1GiB"},
    }
    assert load_plan("12", "x") == 12


def test_the_labs_plan(checkout: Path) -> None:
    text = (checkout / "plans" / "lab.yml").read_text()
    assert load_plan(text, "lab.yml")["version"] == 1


TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="ab01:-[]{},&*!|>'\"%#<~ \n\t", max_size=60),
)


@given(TEXTS)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        load_plan(text, "plan.yml")
    except InvalidInput as error:
        assert len(error.problems) == 1


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN.filter(lambda data: data is not None))
def test_what_yaml_writes_is_read_back(data: object) -> None:
    text = yaml.safe_dump(data)
    assert load_plan(text, "plan.yml") == data
