"""The `celosia` command: verbs, and one place where errors become one line and an exit status."""

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from celosia.sw.cli import (
    analyze,
    area,
    bench,
    calibrate,
    compile,
    evaluate,
    export,
    generate,
    listings,
    pnr,
    report,
    run,
    sweep,
    trace,
)
from celosia.sw.cli.errors import INTERRUPTED, explain


class _Group(TyperGroup):
    """Runs a verb, and tells errors in the way of `errors.explain` instead of typer's."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Never returns: exits with the status."""
        try:
            status = super().main(*args, **(options | {"standalone_mode": False}))
        except BaseException as error:
            told = explain(error)
            if told is None:
                raise
            message, status = told
            print(f"celosia: {message}", file=sys.stderr)
        else:
            # Newer versions of typer turn Ctrl-C into its exit status and say nothing.
            if status == INTERRUPTED:
                print("celosia: interrupted", file=sys.stderr)
        sys.exit(status if isinstance(status, int) else 0)


app = typer.Typer(
    cls=_Group,
    help="Transformer inference accelerators: Verilog from a configuration, and published models on it, bit for bit.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"celosia {version('celosia')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


app.command("generate")(generate.generate)
app.command("run")(run.run)
app.command("bench")(bench.bench)
app.command("trace")(trace.trace)
app.command("area")(area.area)
app.command("pnr")(pnr.pnr)
app.add_typer(analyze.app, name="analyze")
app.command("export")(export.export)
app.command("sweep")(sweep.sweep)
app.command("report")(report.report)
app.command("eval")(evaluate.evaluate)
app.add_typer(calibrate.app, name="calibrate")
app.command("compile")(compile.compile)
app.command("disassemble")(listings.disassemble)
app.command("config")(listings.config)


def main() -> NoReturn:
    """Entry point of the `celosia` command."""
    app(prog_name="celosia")
    raise AssertionError("the application exits")
