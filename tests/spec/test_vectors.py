"""Every vector, run against `restic_spec`; the files against their schema and their generator."""

import json
from pathlib import Path

import jsonschema
import pytest
from vectors import generate
from vectors.operations import OPERATIONS

from restic_spec.errors import SpecError

FOLDER = Path(generate.__file__).parent
FILES = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json")) if path.stem != "schema"
}
VECTORS = [vector for file in FILES.values() for vector in file["vectors"]]


def _run(vector: dict) -> tuple[str, dict | None]:
    try:
        return "valid", OPERATIONS[vector["operation"]](vector["input"])
    except SpecError as error:
        return error.layer, None


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_vector(vector):
    layer, output = _run(vector)
    assert layer == vector["expect"]
    if output is not None:
        # An operation may say more than a vector asks for.
        assert {name: output[name] for name in vector["output"]} == vector["output"]


@pytest.mark.parametrize("name", FILES)
def test_file_fits_schema(name):
    schema = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(FILES[name])
    assert FILES[name]["chapter"] == name


def test_ids_are_unique():
    ids = [vector["id"] for vector in VECTORS]
    assert len(set(ids)) == len(ids)


def test_generator_makes_the_committed_files():
    made = generate.documents()
    assert sorted(made) == sorted(f"{name}.json" for name in FILES)
    for name, text in made.items():
        assert text == (FOLDER / name).read_text(encoding="utf-8"), f"{name}: run spec/vectors/generate.py"
