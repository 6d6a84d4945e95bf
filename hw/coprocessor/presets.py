"""Named co-processors: how many cores share the heads, and what each is built for (docs/coprocessor.md says why)."""

from dataclasses import fields, replace

from celosia.hw.config import BusConfig, ConfigError
from celosia.hw.coprocessor.config import CoprocessorConfig
from celosia.hw.hdp.core.config import CoreConfig

COPROCESSORS: dict[str, CoprocessorConfig] = {
    "hdp-edge": CoprocessorConfig(
        cores=1,
        core=CoreConfig(width=64, rate=4, length=128, rows=256, bus=16, lanes=16),
        bus=BusConfig(bytes=16, burst=64, outstanding=8),
    ),
    "hdp-server": CoprocessorConfig(
        cores=4,
        core=CoreConfig(width=64, rate=4, length=512, rows=1024, bus=64),
        bus=BusConfig(bytes=64, burst=64, outstanding=8),
    ),
}


def override_core(config: CoreConfig, settings: list[str]) -> CoreConfig:
    """Apply `field=value` settings. Errors: ConfigError that names the setting and what would work."""
    known = {field.name: field.type for field in fields(config) if field.type in (int, bool, str)}
    values: dict[str, int | bool | str] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or name not in known:
            raise ConfigError(
                f"a setting of a core must read field=value, a field of {', '.join(known)}, not {setting!r}"
            )
        if known[name] is bool and text not in ("true", "false"):
            raise ConfigError(f"{name} must be true or false, not {text}")
        if known[name] is int and not text.isdigit():
            raise ConfigError(f"{name} must be a number, not {text}")
        values[name] = text == "true" if known[name] is bool else int(text) if known[name] is int else text
    return replace(config, **values)
