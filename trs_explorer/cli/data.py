"""`trs data`: list and download data sets."""

from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.catalogue import DATA, entry
from trs_explorer.options import UsageError


def data(
    action: Annotated[str, typer.Argument(help="list: show all. get: check NAME; download it if missing.")] = "list",
    name: Annotated[str | None, typer.Argument(help="The data set for get.", show_default=False)] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Folder with the files. Nothing is downloaded then.")
    ] = None,
) -> None:
    """List the data sets and where their files are; or get one: download it if it is missing, and check that it is complete.

    Example: trs data get cifar10
    """
    if action == "list":
        for key, about in DATA.items():
            shape = "x".join(map(str, about.shape))
            where = about.source.where if about.source else "comes with trs" if about.embedded else "computed"
            print(f"{key:13} {shape:8} {about.classes:3} classes  {about.summary}: {where}")
        return
    if action != "get":
        raise UsageError(f"trs data: there is no {action!r}. Choose list or get")
    if name is None:
        raise UsageError(f"trs data get: name a data set: {', '.join(DATA)}")
    entry(DATA, "trs data get", name)
    from trs_explorer.data import load

    for split, expected in zip(("train", "test"), DATA[name].sizes, strict=True):
        images = load(name, train=split == "train", data_dir=str(data_dir or ""))
        summary = f"{name} {split}: {len(images):,} images, {images.classes} classes"
        if expected not in (0, len(images)):
            raise UsageError(f"{summary}, but the set has {expected:,}: files are missing or cut; get them again")
        print(f"{summary}, complete" if expected else summary)
