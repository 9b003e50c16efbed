"""Run the cells of a notebook in order in this process, as a kernel does, and print the type of what each ends with."""

import ast
import json
import sys
from pathlib import Path

for number, cell in enumerate(json.loads(Path(sys.argv[1]).read_text())["cells"]):
    if cell["cell_type"] == "code":
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"<cell {number}>", "exec"), globals())
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), globals())
            print("shown:", type(value).__name__, repr(value) if isinstance(value, list) else "")

unwanted = ("trs_explorer.cli", "trs_explorer.web", "trs_explorer.tui", "typer", "dash", "textual")
print("loaded besides:", ", ".join(name for name in unwanted if name in sys.modules))
