"""`celosia report`: what a sweep or an area report found, to look at."""

from pathlib import Path
from typing import Annotated

import typer

from celosia.sw.cli import output, plugins
from celosia.sw.cli.errors import CliError
from celosia.sw.cli.options import JsonOption


def report(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a sweep, or a file of `celosia area --json`.")
    ],
    page: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.html", help="The page; without it, report.html in DIR."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="FOLDER", help="Also write figures for papers there, as SVG.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a page to look at, which needs nothing else and works offline, and figures for papers."""
    place = page or (source / "report.html" if source.is_dir() else source.with_suffix(".html"))
    if place.is_dir():
        raise CliError(f"cannot write {place}: it is a folder; give a file, such as {place / 'report.html'}")
    if figures is not None and figures.exists() and not figures.is_dir():
        raise CliError(f"cannot write {figures}: it is a file; --figures takes a folder")
    with plugins.telling("synth error"):
        found = plugins.load("read report")(source)
        with output.step(f"report of {source}"):
            files = {place: plugins.load("report page")(found)}
            if figures is not None:
                files |= {figures / name: text for name, text in plugins.load("report figures")(found).items()}
    for path in files:
        output.check_writable(path)
    for path, text in files.items():
        output.write_file(path, text)
    sizes = {str(path): len(text.encode()) for path, text in files.items()}
    if json:
        drawn = [name for name in sizes if name != str(place)]
        output.print_json({"page": str(place), "bytes": sizes[str(place)], "figures": drawn})
        return
    for name, size in sizes.items():
        print(f"{name} ({size / 1e6:.1f} MB)" if size >= 1e5 else name)
