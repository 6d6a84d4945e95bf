"""What ends a command, and how it is told: one line on stderr, and an exit status."""

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class CliError(Exception):
    """Ends the command: the message is one line, `status` the exit status."""

    def __init__(self, message: str, status: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.status = status


def explain(error: BaseException) -> tuple[str, int] | None:
    """The line and exit status for an error that the user can act on; None for a bug, which shows its traceback."""
    if isinstance(error, CliError):
        return str(error), error.status
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    # The copy of click inside typer is private to it: its errors are told by what they can do.
    if callable(show := getattr(error, "format_message", None)):
        return str(show()), BAD_INPUT
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", BAD_INPUT
    # Only now: a command that ends well does not pay for these imports.
    from celosia.hw.config import ConfigError
    from celosia.sw.analysis.errors import AnalysisError
    from celosia.sw.compiler.buffers import CompileError
    from celosia.sw.compiler.codec import CodecError
    from celosia.sw.compiler.program import ProgramError
    from celosia.sw.export.layers import ExportError
    from celosia.sw.mapper.operators import MapperError
    from celosia.sw.model.errors import ModelError
    from celosia.sw.performance.host import HostError
    from celosia.sw.runtime.device import DeviceError

    bad = (
        *(AnalysisError, CodecError, CompileError, ConfigError, ExportError),
        *(HostError, MapperError, ModelError, ProgramError),
    )
    if isinstance(error, bad):
        return " ".join(str(error).split("\n")), BAD_INPUT
    if isinstance(error, DeviceError):
        return str(error), FAILED
    return None
