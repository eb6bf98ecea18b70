"""`docs/architecture.md`: its drawing is the graph of imports, and the graph has no cycles."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "architecture.md"
PACKAGE = "webapp"

Graph = dict[str, set[str]]
"""For each node the nodes that it imports."""


@pytest.fixture(scope="module")
def imports() -> Graph:
    """Return what each module of the product imports of the others."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in sorted(graph.modules)}


def unit_of(module: str) -> str | None:
    """Return the box of the drawing that a module belongs to: a package or module of `webapp/` or of `webapp/core/`.

    None for the two packages themselves, which only contain the others.
    """
    parts = module.split(".")[1:]
    if parts in ([], ["core"]):
        return None
    return ".".join(parts[:2] if parts[0] == "core" else parts[:1])


def units_of(imports: Graph) -> Graph:
    """Return which boxes of the drawing import which others."""
    units: Graph = {}
    for module, imported in imports.items():
        if (unit := unit_of(module)) is not None:
            found = {other for name in imported if (other := unit_of(name)) not in (None, unit)}
            units.setdefault(unit, set()).update(found)
    return units


def transitive_reduction(graph: Graph) -> Graph:
    """Return the graph without the arrows that follow from others."""
    reachable: Graph = {}
    for node in TopologicalSorter(graph).static_order():
        reachable[node] = set(graph[node]).union(*(reachable[other] for other in graph[node]))
    return {
        node: {other for other in found if not any(other in reachable[via] for via in found)}
        for node, found in graph.items()
    }


def drawing(graph: Graph) -> str:
    """Return the graph as Mermaid's lines, sorted."""
    lines = [f"    {node} --> {other}" for node, found in sorted(graph.items()) for other in sorted(found)]
    return "\n".join(lines)


def test_there_are_no_import_cycles(imports: Graph) -> None:
    """Neither between modules nor between the boxes of the drawing: a cycle raises."""
    TopologicalSorter(imports).prepare()
    TopologicalSorter(units_of(imports)).prepare()


def test_the_drawing_is_the_graph_of_imports(imports: Graph) -> None:
    found = re.findall(r"^```mermaid\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    drawn = sorted(re.findall(r"^ +[\w.]+ --> [\w.]+$", found[0], re.MULTILINE))
    expected = drawing(transitive_reduction(units_of(imports)))
    assert drawn == expected.splitlines(), f"the arrows of docs/architecture.md must be:\n{expected}"
