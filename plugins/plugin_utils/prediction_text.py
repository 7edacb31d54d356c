# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A prediction to read: at most 80 columns, sizes beside addresses."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from ansible_collections.carveout.memory.plugins.module_utils._model.iomem import type_name
from ansible_collections.carveout.memory.plugins.module_utils._model.predict import Prediction
from ansible_collections.carveout.memory.plugins.module_utils._units import approximate_size


def prediction_text(prediction: Prediction) -> Iterator[str]:
    """The lines, without line ends."""
    yield f"kernel {prediction.kernel or 'unknown'}"
    yield from _section(
        "memory map after the arguments",
        (_range(start, end, type_name(kind)) for start, end, kind in prediction.kernel_map),
    )
    yield from _section(
        "/proc/iomem, without devices",
        (_range(start, end, name) for start, end, name in prediction.iomem),
    )
    yield from _section(
        "DAX regions", (_range(start, end, f"node {node}") for start, end, node in prediction.dax_regions)
    )
    yield from _section(
        "dmem regions of a kernel with dmemfs",
        (_range(start, end, f"node {node}") for start, end, node in prediction.dmem_regions),
    )
    yield from _section("nodes", _nodes(prediction))
    yield from _section("crashkernel", _crashkernel(*prediction.crashkernel))
    yield from _section("KASLR", [*_folded(f"{prediction.kaslr.verdict}: {prediction.kaslr.reason}")])
    yield from _section(
        "ignored arguments",
        (line for i in prediction.ignored_arguments for line in _folded(f"{i.argument}: {i.reason}")),
    )
    yield from _section(
        "warnings", (line for w in prediction.warnings for line in _folded(f"{w.code}: {w.message}"))
    )


def _nodes(prediction: Prediction) -> Iterator[str]:
    for node, memory in sorted(prediction.nodes.items()):
        yield (
            f"node {node}: {approximate_size(memory.ram)} RAM, "
            f"{approximate_size(memory.struct_pages)} of it struct pages"
        )
        for size, count in sorted(prediction.hugepages.get(node, {}).items()):
            if count:
                yield f"node {node}: {count} huge pages of {approximate_size(size)}"


def _crashkernel(low: int, high: int) -> Iterator[str]:
    for size, where in ((low, "below"), (high, "above")):
        if size:
            yield f"{approximate_size(size)} {where} 4 GiB"


def _folded(text: str) -> list[str]:
    """In lines of 78 columns, those after the first indented; long words whole."""
    return textwrap.wrap(text, 78, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A title and its lines indented; nothing where there are none."""
    for number, line in enumerate(lines):
        if number == 0:
            yield ""
            yield title
        yield f"  {line}"


def _range(start: int, end: int, name: str) -> str:
    """As the kernel writes ranges, with the last byte."""
    return f"{start:012x}-{end - 1:012x}  {approximate_size(end - start):>11}  {name}"
