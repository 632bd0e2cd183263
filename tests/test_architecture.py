"""The rooms keep to themselves: imports run one way."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / 'mindpad_mm'


def name_of(path: Path) -> str:
    return '.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts)


FILES = {name_of(path).removesuffix('.__init__'): path for path in PACKAGE.rglob('*.py')}


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports, late imports and type-checking ones included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = name_of(path).split('.')[: -node.level] if node.level else []
            module = '.'.join([*base, *filter(None, [node.module])])
            # A name may be a module of its own.
            found |= {
                f'{module}.{alias.name}' if f'{module}.{alias.name}' in FILES else module
                for alias in node.names
            }
    return found & set(FILES)


IMPORTS = {module: imports_of(path) for module, path in FILES.items()}


def test_no_files_import_each_other_in_a_circle():
    left = dict(IMPORTS)
    while free := [module for module, needs in left.items() if not needs & set(left) - {module}]:
        for module in free:
            del left[module]
    # A package and its own parts see each other: `import a.b` is also an import of `a`.
    circles = {m: sorted(needs & set(left)) for m, needs in left.items()}
    assert not circles


def test_diagnose_evaluation_and_report_take_only_the_public_names_of_scan():
    for module, needs in IMPORTS.items():
        if module.split('.')[1:2] and module.split('.')[1] in ('diagnose', 'evaluation', 'report'):
            inside = {need for need in needs if need.startswith('mindpad_mm.scan.')}
            assert not inside, f'{module} imports {inside}'


def test_lower_rooms_do_not_import_higher_ones():
    top = {'cli', 'zoo'}
    outputs = {'evaluation', 'report', *top}
    tools = {'border', 'scan', 'diagnose', 'adapt', *outputs}
    above = {
        'core': {'padding', 'incremental', *tools},
        'padding': {'incremental', *tools},
        'incremental': tools,
        'border': tools - {'border'},
        'scan': tools - {'scan'},
        'diagnose': tools - {'diagnose', 'border'},
        'adapt': {'incremental', 'scan', *outputs},
        'evaluation': {'report', *top},
        'report': top,
    }
    for module, needs in IMPORTS.items():
        room = [*module.split('.'), ''][1]
        rooms = {need.split('.')[1] for need in needs if '.' in need}
        assert not rooms & above.get(room, set()), module
