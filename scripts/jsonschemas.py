"""JSON schemas of messages with a documented form: ``python scripts/jsonschemas.py``, from `restic_tools.messages`.

They go into ``docs/reference/json``, where programs can fetch them; a test fails when they differ from the messages.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / part) for part in (".", "spec", "tools")]

import msgspec  # noqa: E402 (needs the path set above)

from restic_spec.notes import field_notes  # noqa: E402

FOLDER = "docs/reference/json"
MESSAGES = {
    "inspect": ("inspect", ["InspectMessage"]),
    "inspect_way": (
        "inspect_way",
        [
            "WayMessage",
            "BlobMessage",
            "EntryMessage",
            "SharingMessage",
            "ShareMessage",
            "FindingMessage",
            "WaySummary",
            "DifferenceMessage",
            "DifferenceSummary",
        ],
    ),
    "overview": ("overview", ["OverviewMessage"]),
    "diagnose": (
        "diagnose",
        ["FaultMessage", "PathMessage", "SnapshotMessage", "NoteMessage", "ShareMessage", "DiagnosisSummary"],
    ),
}
"""Name of each schema, with the module of ``restic_tools.messages`` and the structs in it: each line is one of them."""

_COMMANDS = {"inspect_way": "inspect snapshotID:path or --diff"}


def schema(title: str, module: str, structs: list[str]) -> dict[str, Any]:
    """The JSON schema of messages, with what their declarations say of each member."""
    messages = importlib.import_module(f"restic_tools.messages.{module}")
    lines, defined = msgspec.json.schema_components(
        [getattr(messages, struct) for struct in structs], ref_template="#/$defs/{name}"
    )
    found: dict[str, Any] = {**(lines[0] if len(lines) == 1 else {"anyOf": list(lines)}), "$defs": defined}
    for name, declared in found["$defs"].items():
        kind = getattr(messages, name, None)
        notes = {} if kind is None else field_notes(kind)
        for member, said in declared.get("properties", {}).items():
            if member in notes and "$ref" not in said:
                declared["properties"][member] = {"description": " ".join(notes[member].text.split()), **said}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **found}


def _title(name: str) -> str:
    return f"restic-format {_COMMANDS.get(name, name)} --json"


def files() -> dict[str, str]:
    """Path and text of each file."""
    return {
        f"{FOLDER}/{name}.schema.json": json.dumps(schema(_title(name), *place), indent=2) + "\n"
        for name, place in sorted(MESSAGES.items())
    }


if __name__ == "__main__":
    for path, text in files().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
