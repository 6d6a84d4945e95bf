"""RTLIL of a component, cleaned: the common source of Verilog, simulation and synthesis.

Amaranth writes one module an instance, a wire for every field of every structure, names that Verilog has to escape, and
an initial value for every word of every memory. Here equal modules are merged, field wires and empty wires dropped,
names made plain identifiers, and all-zero memory contents left out (memories hold nothing until written). Nothing that
drives anything changes.
"""

import hashlib
import re
from collections.abc import Iterator

from amaranth.back import rtlil as amaranth_rtlil
from amaranth.hdl import Const, Signal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from celosia.hw.garbage import without_collection

_MODULE = re.compile(r"^module \\(\S+)$", re.MULTILINE)
_NAME = re.compile(r"\\(\S+)")
_DECLARATION = re.compile(r"^  (?:wire .* |memory .* |cell \S+ |process )\\(\S+)$", re.MULTILINE)
_EMPTY_WIRE = re.compile(r"^  wire width 0 .*\\(\S+)$", re.MULTILINE)
_PORT = re.compile(r"^  wire width \d+ (?:input|output|inout) \d+ .*\\(\S+)$", re.MULTILINE)
_DROPPED_ATTRIBUTES = re.compile(r"^ *attribute \\(?:generator|top|src|enum_\w+) .*\n", re.MULTILINE)
_FIELD_WIRES = re.compile(r"^  wire .*\\[^\s.]+\.\S+\n|^connect \\[^\s.]+\.\S+ .*\n", re.MULTILINE)
_MEMORY_INIT = re.compile(r"^  cell \$meminit_v2 \S+\n(?:    .*\n)*  end\n", re.MULTILINE)
_ZERO_DATA = re.compile(r"^    connect \\DATA \d+'0*$", re.MULTILINE)
_PORT_LINES = re.compile(r"^(?:  attribute .*\n)*  wire width \d+ (?:input|output|inout) .*\n", re.MULTILINE)
_NAMELESS = re.compile(r"port\$\d+\$\d+")
_PORT_NUMBER = re.compile(r" (input|output|inout) \d+ +")
_CHILD = re.compile(r"^  cell \\(\S+) ", re.MULTILINE)
_CHILD_CELL = re.compile(r"^  cell \\(\S+) .*\n(?:    .*\n)*  end\n", re.MULTILINE)
_CHILD_PORT = re.compile(r"^(    connect )\\(\S+)( .*\n)", re.MULTILINE)


def rtlil(component: wiring.Component, name: str) -> str:
    """RTLIL text of `component` with the top module `name`: deterministic, without source locations."""
    with without_collection():
        text = amaranth_rtlil.convert(component, name=name, ports=ports_of(component), emit_src=False)
    return clean(text)


def ports_of(component: wiring.Component) -> dict[str, tuple[Signal, PortDirection]]:
    """Ports of a component, name and direction. A member that is always ready is a constant and no port."""
    ports = {}
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        if not isinstance(signal, Const):
            direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports["__".join(map(str, path))] = (signal, direction)
    return ports


def clean(text: str) -> str:
    """Clean the RTLIL text that Amaranth writes (its regular layout is relied upon); the top module comes first."""
    bodies = dict(_split(text))
    # Parents come before their children in the text; work from the leaves up.
    ports: dict[str, dict[str, str | None]] = {}
    for name in reversed(bodies):
        bodies[name], ports[name] = _clean_module(bodies[name], ports)
    return _merge(bodies)


def _split(text: str) -> Iterator[tuple[str, str]]:
    """Module names and bodies (the lines between `module` and its `end`)."""
    for part in re.split(r"^(?=attribute \\generator)", text, flags=re.MULTILINE):
        match = _MODULE.search(part)
        if match:
            yield match[1], part[match.end() + 1 : part.rindex("\nend\n") + 1].strip("\n") + "\n"


def _clean_module(body: str, ports: dict[str, dict[str, str | None]]) -> tuple[str, dict[str, str | None]]:
    """A cleaned body, and what became of the names of its ports (None: dropped)."""
    body = _DROPPED_ATTRIBUTES.sub("", re.sub(r"\n\n+", "\n", body))
    body = _FIELD_WIRES.sub("", body)
    body = _MEMORY_INIT.sub(lambda cell: "" if _ZERO_DATA.search(cell[0]) else cell[0], body)
    empty = set(_EMPTY_WIRE.findall(body))
    own_ports: dict[str, str | None] = dict.fromkeys(_PORT.findall(body))
    for name in empty:
        body = re.sub(rf"^  wire width 0 .*\\{re.escape(name)}\n", "", body, flags=re.MULTILINE)
        body = re.sub(rf"^connect \\{re.escape(name)} .*\n", "", body, flags=re.MULTILINE)
    renamed = _plain_names(_DECLARATION.findall(body))
    for name in own_ports:
        own_ports[name] = None if name in empty else renamed.get(name, name)
    body = _CHILD_CELL.sub(lambda cell: _rename_child_ports(cell[0], ports.get(cell[1], {})), body)
    if renamed:
        body = "".join(_rename_line(line, renamed) for line in body.splitlines(keepends=True))
    return _order_ports(body.replace("\\\0", "\\")), own_ports


def _order_ports(body: str) -> str:
    """Ports first, by name, numbered from one: Amaranth orders them by use, in which equal modules differ."""
    ports = sorted(_PORT_LINES.findall(body), key=lambda lines: lines[lines.rindex("\\") :])
    numbered = [_PORT_NUMBER.sub(rf" \1 {index} ", lines) for index, lines in enumerate(ports, 1)]
    return "".join(numbered) + _PORT_LINES.sub("", body)


def _plain_names(names: list[str]) -> dict[str, str]:
    """New names for those of `names` that are not plain identifiers, distinct from all others."""
    taken = {name for name in names if re.fullmatch(r"[A-Za-z_]\w*", name)}
    renamed: dict[str, str] = {}
    for name in names:
        if name in taken or name in renamed:
            continue
        # Nameless ports are named after their nets: numbers that differ from instance to instance.
        base = f"port{len(renamed)}" if _NAMELESS.fullmatch(name) else name
        plain = re.sub(r"\W+", "_", base).strip("_") or "n"
        plain = f"n{plain}" if plain[0].isdigit() else plain
        candidate, count = plain, 1
        while candidate in taken:
            count += 1
            candidate = f"{plain}_v{count}"
        taken.add(candidate)
        renamed[name] = candidate
    return renamed


def _rename_child_ports(cell: str, ports: dict[str, str | None]) -> str:
    def port(match: re.Match[str]) -> str:
        new = ports.get(match[2], match[2])
        # A mark that no name holds: what is renamed here is not renamed again as a wire of the parent.
        return "" if new is None else f"{match[1]}\\\0{new}{match[3]}"

    return _CHILD_PORT.sub(port, cell)


def _rename_line(line: str, renamed: dict[str, str]) -> str:
    if "\\" not in line or line.lstrip().startswith("attribute"):
        return line
    if line.lstrip().startswith("parameter"):
        # Memories are referred to by strings.
        return re.sub(
            r'(parameter \\MEMID "\\\\)([^"]+)"', lambda match: f'{match[1]}{renamed.get(match[2], match[2])}"', line
        )
    return _NAME.sub(lambda match: "\\" + renamed.get(match[1], match[1]), line)


def _merge(bodies: dict[str, str]) -> str:
    """The design with equal modules merged, each under the name of its first instance."""
    keys: dict[str, str] = {}
    first: dict[str, str] = {}
    for name in reversed(bodies):
        body = _CHILD.sub(lambda match: f"  cell \\{keys.get(match[1], match[1])} ", bodies[name])
        keys[name] = hashlib.sha256(body.encode()).hexdigest()
    for name in bodies:
        first.setdefault(keys[name], name)
    names = dict(zip(first, _module_names(list(first.values())), strict=True))
    parts = []
    for key, name in first.items():
        body = _CHILD.sub(lambda match: f"  cell \\{names.get(keys.get(match[1], ''), match[1])} ", bodies[name])
        parts.append(f"module \\{names[key]}\n{body}end\n")
    return "\n".join(parts)


def _module_names(names: list[str]) -> list[str]:
    renamed = _plain_names(names)
    return [renamed.get(name, name) for name in names]
