"""Mappings from YAML files and presets, and which preset fits a file's columns.

A mapping is a YAML file with the keys of `MappingRules`; unknown keys are errors. Presets
lie in ``warehouse/ingest/mapping/presets``.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from warehouse.errors import MappingError
from warehouse.ingest.mapping.rules import MappingRules

PRESETS_DIR: Final = Path(__file__).parent / "presets"
_MAX_FILE_BYTES: Final = 256 * 1024
_MAX_REPORTED_PROBLEMS: Final = 5


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, but a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = {str(key) for key in keys if keys.count(key) > 1}
        if repeated:
            raise yaml.YAMLError(f"key {', '.join(sorted(repeated))} stands twice{node.start_mark}")
        return super().construct_mapping(node, deep=deep)


def parse_mapping(text: str, *, origin: str) -> MappingRules:
    """Parse a mapping's YAML.

    Raises
    ------
    MappingError
        When it is not YAML, or not a mapping; `origin` and the key at fault are named.
    """
    try:
        content = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader with one more check)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise MappingError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from error
    try:
        return MappingRules.model_validate(content)
    except ValidationError as error:
        raise MappingError(f"{origin}: {_describe(error)}") from error


def load_mapping(name: str) -> MappingRules:
    """Load a preset by its name, or a mapping by the path of its YAML file.

    Raises
    ------
    MappingError
        When there is neither, or it does not parse.
    """
    presets = preset_names()
    path = PRESETS_DIR / f"{name}.yml" if name in presets else Path(name)
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise MappingError(
                f"{path.name}: a mapping has at most {_MAX_FILE_BYTES:,} bytes: name a YAML file"
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise MappingError(
            f"mapping {name!r} is neither a preset ({', '.join(presets)}) nor a readable YAML file ({error})"
        ) from error
    return parse_mapping(text, origin=path.name)


def preset_names() -> tuple[str, ...]:
    """Name the presets, in alphabetical order."""
    return tuple(sorted(path.stem for path in PRESETS_DIR.glob("*.yml")))


def recognise_mapping(columns: Collection[str]) -> MappingRules:
    """Find the one preset whose telling columns are all there.

    Raises
    ------
    MappingError
        When none or several fit.
    """
    presets = [load_mapping(name) for name in preset_names()]
    fitting = [preset for preset in presets if set(preset.recognise) <= set(columns)]
    if len(fitting) == 1:
        return fitting[0]
    shown = ", ".join(list(columns)[:20])
    if fitting:
        names = " and ".join(preset.name for preset in fitting)
        raise MappingError(f"the columns {shown} fit the presets {names}: name one with --mapping")
    expected = "; ".join(f"{preset.name}: {', '.join(preset.recognise)}" for preset in presets)
    raise MappingError(f"the columns {shown} fit no preset ({expected}): name a mapping file with --mapping")


def _describe(error: ValidationError) -> str:
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'the file'}: "
        + (
            "unknown key"
            if problem["type"] == "extra_forbidden"
            else problem["msg"].removeprefix("Value error, ")
        )
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = len(problems) - _MAX_REPORTED_PROBLEMS
    shown = problems[:_MAX_REPORTED_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
    return "; ".join(shown)
