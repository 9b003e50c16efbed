"""Python code that loads exported weights with torch alone: it writes the members' architecture out, layer by layer."""

import ast
import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from trs_explorer.files import printable
from trs_explorer.models.ensemble import WEIGHTED, Ensemble
from trs_explorer.models.mlp import Sine
from trs_explorer.models.normalize import Normalize
from trs_explorer.models.resnet import Block

LINE = 120  # characters of a line of code, where it can be broken
MOST_LINES = 60  # of a description of members whose code cannot be written

# Layers of this package: how each is built. Their classes are written out before the architecture.
_OUR_LAYERS: dict[type[nn.Module], Callable[..., str]] = {
    Normalize: lambda layer: f"Normalize({layer.mean.flatten().tolist()}, {layer.std.flatten().tolist()})",
    Sine: lambda layer: f"Sine({layer.scale!r})",
    Block: lambda layer: f"Block({layer.conv1.in_channels}, {layer.conv1.out_channels}, {layer.stride})",
}


def loading_code(ensemble: Ensemble, file: str, shape: tuple[int, int, int]) -> str:
    """Python code that loads an ensemble's weights from a file and computes its vote, without this package.

    ensemble: in eval mode. Its members' code is written if they consist of torch's own layers and of this package's, in
        nn.Sequential; the code is run here, and returned only if its outputs are the ensemble's, bit for bit. For other members
        the code only loads the weights, and a comment describes the members.
    file: the name of the weights' file, .pt or .safetensors.
    shape: channel, height, width of its images.
    """
    library, read = _reading(file)
    here = _whole_code(ensemble, "", "weights", shape)
    if here is not None and _is_exact(here, ensemble, shape):
        return _whole_code(ensemble, library, read, shape) or here
    return _weights_only_code(ensemble, library, read)


def _whole_code(ensemble: Ensemble, library: str, read: str, shape: tuple[int, int, int]) -> str | None:
    """The code with the architecture; None if it cannot be written.

    read: the expression that gives the weights.  library: the import that it needs, "" if none.
    """
    members = [_expression(member) for member in ensemble.members]
    used = {type(layer) for layer in ensemble.modules()}
    classes = [_plain_source(layer) for layer in _OUR_LAYERS if layer in used]
    if None in members or None in classes:
        return None
    count, built, make = len(members), "\n\n\n".join([str(one) for one in classes]), ",\n    ".join(map(str, members))
    if len(set(members)) == 1:
        built += f"\n\n\ndef member():\n    return {members[0]}"
        make = f"member() for _ in range({count})"
    imports = ["import math", "from collections import OrderedDict", "", "import torch"]
    imports += ["import torch.nn.functional as F"] * ("F." in built) + [library] * bool(library) + ["from torch import nn"]
    load = [f'ensemble = nn.ModuleDict({{"members": nn.ModuleList([{make}])}}).eval()']
    if ensemble.voting in WEIGHTED:
        load.append(f'ensemble.register_buffer("vote_weights", torch.zeros({count}))')
    load.append(f"ensemble.load_state_dict({read})")
    vote = [
        f"def log_probabilities(x):  # images in [0, 1], [batch, {', '.join(map(str, shape))}]",
        '    logits = torch.stack([member(x) for member in ensemble["members"]])  # [member, batch, class]',
        *_vote(ensemble),
    ]
    blocks = ["\n".join(imports), built.strip(), "\n".join(load), "\n".join(vote)]
    return "\n\n\n".join(filter(None, blocks)) + "\n"


def _vote(ensemble: Ensemble) -> list[str]:
    """The vote of `Ensemble.vote`, as lines of code."""
    if ensemble.voting == "mean":
        return [f"    return logits.log_softmax(-1).logsumexp(0) - math.log({len(ensemble)})"]
    if ensemble.voting == "sum":
        return ["    return (ensemble.vote_weights[:, None, None] * logits).sum(0).log_softmax(-1)"]
    if ensemble.voting == "confident":
        return [
            "    sure = nn.functional.logsigmoid(logits.sum(-1) / math.sqrt(logits.shape[-1]))",
            "    chosen = (logits.log_softmax(-1).amax(-1) + sure).argmax(0)  # the most confident member answers",
            "    return logits.gather(0, chosen[None, :, None].expand(1, -1, logits.shape[-1]))[0].log_softmax(-1)",
        ]
    return [
        "    votes = ensemble.vote_weights / ensemble.vote_weights.sum()",
        "    return (logits.log_softmax(-1) + votes[:, None, None].log()).logsumexp(0)",
    ]


def _reading(file: str) -> tuple[str, str]:
    """The import that reading a file of weights needs, "" if none, and the expression that reads it."""
    if file.endswith(".safetensors"):
        return "from safetensors.torch import load_file", f"load_file({file!r})"
    return "", f"torch.load({file!r}, weights_only=True)"


def _expression(module: nn.Module, indent: int = 4) -> str | None:
    """A module as an expression; None if it, or a part of it, is neither a layer of torch nor one of this package."""
    kind = type(module)
    if kind in _OUR_LAYERS:
        return _OUR_LAYERS[kind](module)
    if kind is nn.Sequential:
        names = list(module._modules)
        layers = [None if layer is None else _expression(layer, indent + 4) for layer in module._modules.values()]
        if None in layers:
            return None
        if names == [str(i) for i in range(len(names))]:
            return f"nn.Sequential({_filled([str(layer) for layer in layers], indent)})"
        pairs = [f"{name!r}: {layer}" for name, layer in zip(names, layers, strict=True)]
        return f"nn.Sequential(OrderedDict({{{_filled(pairs, indent)}}}))"
    if getattr(nn, kind.__name__, None) is not kind or any(True for _ in module.children()):
        return None
    expression = f"nn.{module!r}"  # of torch's own layers it is nearly always their call; `_is_exact` notices where not
    return expression if "\n" not in expression else None


def _filled(parts: Sequence[str], indent: int) -> str:
    """The parts with commas, several on an indented line as long as they fit; on the line before if there is only one."""
    if len(parts) < 2:
        return "".join(parts)
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) + indent + 6 > LINE:
            lines.append("")
        lines[-1] += f"{' ' * (indent + 4) if not lines[-1] else ' '}{part},"
    return "\n" + "\n".join(lines) + "\n" + " " * indent


def _plain_source(layer: type[nn.Module]) -> str | None:
    """The source of a class without docstrings and annotations, which need more than torch; None where it is not to be had."""
    try:
        tree = ast.parse(inspect.getsource(layer))
    except (OSError, TypeError, SyntaxError):
        return None
    return ast.unparse(ast.fix_missing_locations(_Plain().visit(tree)))


class _Plain(ast.NodeTransformer):
    """Removes docstrings and annotations."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if node.value is None else ast.Assign(targets=[node.target], value=node.value)

    def _without_docstring(self, node: ast.ClassDef | ast.FunctionDef) -> ast.AST:
        if ast.get_docstring(node) is not None:
            del node.body[0]
        return self.generic_visit(node)


def _is_exact(code: str, ensemble: Ensemble, shape: tuple[int, int, int]) -> bool:
    """Whether the code, given the ensemble's `weights`, computes what the ensemble does."""
    ours = copy.deepcopy(ensemble).cpu().eval()
    names: dict[str, Any] = {"weights": ours.state_dict()}
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            exec(code, names)
            return torch.equal(names["log_probabilities"](x), ours(x))
    except Exception:  # whatever is wrong with it, it is not what the user should get
        return False


def _weights_only_code(ensemble: Ensemble, library: str, read: str) -> str:
    """Code that loads the weights into members that the reader builds, with a description of them as a comment."""
    described = [
        printable(line)
        for number, member in enumerate(ensemble.members, start=1)
        for line in f"F{number}: {member!r}".splitlines()
    ]
    if len(described) > MOST_LINES:
        described = [*described[:MOST_LINES], "..."]
    lines = [
        "import torch",
        *([library] if library else []),
        "",
        "members = [...]  # build the members by your own code, F1 first:",
        *(f"#   {line}" for line in described),
        f"weights = {read}",
        "for number, member in enumerate(members):",
        '    start = f"members.{number}."',
        "    member.load_state_dict({name[len(start) :]: value for name, value in weights.items() if name.startswith(start)})",
        "    member.eval()  # takes images in [0, 1], returns logits",
    ]
    return "\n".join(lines) + "\n"
