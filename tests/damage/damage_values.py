"""Odd values: what a damaged or hostile file may hold in the place of a number, a text, a list or a tensor."""

import json
import math
from random import Random
from typing import Any

import torch

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\x85\u202e"
MARKUP = "<script>alert(1)</script>"

# Folder and file names, as bytes: a file system takes what no text is.
NAMES = (
    b"bad\xffname",
    b"a\x1b]0;owned\x07b\x1b[2J",
    b"two\nlines",
    b"[bold]x[red][link=y]",
    b"dash goes here",
    b"_dash-config",
    b"{{7*7}} {% config %} ${x} %s {0}",
    b"<script>alert(1)<",
    b"\"'><img src=x onerror=alert(1)>",
    b"a?b#c&d=e%2e",
    b"-rf",
    b" ",
    b"=1+1",
    b"x" * 200,
    "räum ε\u202eabc\u0301".encode(),
    b"good (2)",
)

# As JSON texts, since some of them are what json.dumps would not write.
VALUES = (
    "null", "true", "false", "0", "-1", "1", "2", "3", "64", "5000", "1000000000", "0.5", "-0.0",
    "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1e-400", "1.7e308", "-1.7e308", "1e300",
    "100000000000000000", "9223372036854775807", "-9223372036854775809", "18446744073709551616", "9" * 400, "-" + "9" * 400,
    "1" + "0" * 5000, '""', '"\\ud800"', '"a\\udcffb"', '"\\u0000"', '"0"', '"NaN"', json.dumps(ESCAPES), json.dumps(MARKUP),
    '"[bold]x[/bold] [/] [link=file:///etc/passwd]y"', '"{{7*7}} {% config %} {0} %s"', '"=cmd|\' /C calc\'!A0"',
    '"dash goes here"',
    '"../../outside/folder"', '"/dev/zero"', '"/nonexistent/x"', '"cuda"', '"cuda:7"', '"meta"', '"mnist"', '"bars"', '"cifar10"',
    '"trs"', '"dverge"', '"os:system"', '"running"', '"paused"', '"failed"', '"finished"', '"linf"', '"l2"', '"pgd-50"',
    "[]", "{}", "[[]]", "[null]", "[[1,2],[3]]", "[[[[1]]]]", '{"a":1}', '{"total":1e999}', "[1e999,-1e999]", "[[NaN]]",
    "[" + "1," * 5000 + "1]", '"' + "y" * 20_000 + '"',
)  # fmt: skip
HEAVY = ("[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000, '"' + "z" * 3_000_000 + '"')


def value(rng: Random) -> str:
    """A JSON text, one in thirty of them megabytes long or very deep."""
    return rng.choice(HEAVY) if rng.random() < 1 / 30 else rng.choice(VALUES)


def brief(text: object) -> str:
    """How a value is named in a list of mutations."""
    shown = ascii(text)
    return shown if len(shown) < 60 else f"{shown[:40]}...({len(shown)})"


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in nested dicts and lists, the outermost first."""
    places, open_ = [], [tree]
    while open_:
        inside = open_.pop(0)
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside))) if isinstance(inside, list) else []
        places += [(inside, key) for key in keys]
        open_ += [inside[key] for key in keys]
    return places


def tensors(rng: Random, like: torch.Tensor) -> torch.Tensor:
    """A tensor that is not what `like` is: of another shape, type, layout, or of odd numbers."""
    made = (
        lambda: torch.zeros(1),
        lambda: torch.zeros(0),
        lambda: torch.tensor(1.0),
        lambda: torch.zeros(3, 5, 7),
        lambda: like.flatten()[:1].clone(),
        lambda: like.clone().unsqueeze(0),
        lambda: (
            like.clone().transpose(0, -1).contiguous() if like.dim() > 1 else like.clone()[None, :0] if like.dim() else like[None]
        ),
        lambda: like.double(),
        lambda: like.half(),
        lambda: like.to(torch.int8),
        lambda: like.to(torch.complex64),
        lambda: like.bool(),
        lambda: torch.zeros(1).expand(10**9),  # four bytes on disk, four billion when it is copied
        lambda: torch.zeros(1).expand(2**40),
        lambda: torch.zeros(1).expand(like.shape) if like.dim() else like[None],
        lambda: torch.full_like(like, math.nan) if like.is_floating_point() else like * 0 - 1,
        lambda: torch.full_like(like, math.inf) if like.is_floating_point() else like * 0 + 2**30,
        lambda: like.to_sparse() if like.dim() else like[None],
        lambda: torch.empty(like.shape, device="meta"),
        lambda: torch.quantize_per_tensor(like.float(), 0.1, 0, torch.qint8),
    )
    return rng.choice(made)()


def objects(rng: Random) -> object:
    """What a training state may hold in the place of something else."""
    return rng.choice(
        (None, True, -1, 0, 1, 5000, 10**9, 2**63, 2**64, 10**400, 0.5, -0.5, math.inf, -math.inf, math.nan, 1e308, "", "text",
         ESCAPES, "9" * 400, [], {}, (), [1, 2], {"a": 1}, {0: {}}, {-1: 1}, [[[]]], (0.9,), (0.9, 0.999, 0.5), (math.nan, 2.0),
         b"bytes",
         torch.zeros(1), torch.zeros(3, 4), torch.tensor(math.inf), torch.tensor(10**9))
    )  # fmt: skip
