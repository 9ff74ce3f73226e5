"""config/model.schema.json says what model.json may hold: the file that ships is valid by it, and so is what the program takes;
what it refuses by form, the program refuses too. Checked with jsonschema where that is installed, and by a small reader of the
schema's own words, here, everywhere."""
import json
import re

import numpy as np
import pytest

import harness
import models
from harness import run

SCHEMA = json.loads((harness.ROOT / "config/model.schema.json").read_text())
TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int}


def faults(schema, value, at="model.json"):
    """Of the words that the schema uses; a word that is not known here fails."""
    known = {"$schema", "title", "description", "type", "additionalProperties", "properties", "items", "minItems", "maxItems",
             "enum", "minimum", "maximum", "exclusiveMinimum", "pattern", "dependentRequired", "not", "const"}
    assert set(schema) <= known, set(schema) - known
    kind = TYPES[schema["type"]] if "type" in schema else object
    if not isinstance(value, kind) or (isinstance(value, bool) and schema.get("type") in ("number", "integer")):
        return [f"{at} is no {schema['type']}"]
    found = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{at} is not {schema['const']}")
    if "not" in schema and not faults(schema["not"], value, at):
        found.append(f"{at} is what it may not be")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at} is none of {schema['enum']}")
    if isinstance(value, (int, float)):
        low, high, above = (schema.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
        if (low is not None and value < low) or (high is not None and value > high) or (above is not None and value <= above):
            found.append(f"{at} is out of range")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at} does not match")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at} has {len(value)} items")
        for i, item in enumerate(value):
            found += faults(schema.get("items", {}), item, f"{at}[{i}]")
    if isinstance(value, dict):
        for key, item in value.items():
            if key in schema.get("properties", {}):
                found += faults(schema["properties"][key], item, f"{at}.{key}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{at}.{key} is unknown")
            found += [f"{at}.{other} is missing" for other in schema.get("dependentRequired", {}).get(key, []) if other not in value]
    return found


def is_valid(value):
    mine = not faults(SCHEMA, value)
    try:
        import jsonschema
    except ImportError:
        return mine
    theirs = jsonschema.Draft202012Validator(SCHEMA).is_valid(value)
    assert mine == theirs, value
    return mine


def accepts(root, describe):
    """Whether the program takes it for a model of 3 x 4 x 5 features and one output."""
    (root / "one/1/model.json").write_text(json.dumps(describe))
    return run("check", "--models", root).returncode == 0


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    root = tmp_path_factory.mktemp("one")
    return models.write_model(root, "one", models.sequential(models.linear(60, 1, bias=False)),
                              {"0.weight": np.ones((1, 60), np.float32)})


def test_the_model_json_that_ships_is_valid():
    assert faults(SCHEMA, json.loads((models.shipped() / "model.json").read_text())) == []
    for path in (harness.ROOT / "tests/data").glob("**/model.json"):
        assert is_valid(json.loads(path.read_text())), path


TAKEN = [{}, {"task": "regression"}, {"labels": ["x"], "task": "regression"}, {"task": "binary", "labels": ["no", "yes"]},
         {"task": "binary", "threshold": 0}, {"task": "multilabel", "threshold": 1.0}, {"input": {}},
         {"input": {"channels": 3, "width": 4, "height": 5}},
         {"input": {"channels": 3, "width": 4, "height": 5, "mean": [0, 0.5, 1], "std": [1, 0.5, -1], "pixel_divisor": 1}}]
REFUSED = [[], 3, {"label": ["x"]}, {"labels": "x"}, {"labels": []}, {"labels": [1]}, {"labels": ["a\nb"], "task": "regression"},
           {"task": "Regression"}, {"task": None}, {"task": "binary", "threshold": 1.01}, {"task": "binary", "threshold": "0.5"},
           {"input": []}, {"input": {"chanels": 3}}, {"input": {"channels": 0}}, {"input": {"channels": 17}}, {"input": {"width": 60}},
           {"input": {"width": 0, "height": 60}}, {"input": {"width": 6.5, "height": 10}}, {"input": {"pixel_divisor": 0}},
           {"input": {"channels": 3, "width": 4, "height": 5, "std": [1, 0, 1]}},
           {"input": {"channels": 3, "width": 4, "height": 5, "mean": [1, "0", 1]}}]


@pytest.mark.parametrize("describe", TAKEN, ids=json.dumps)
def test_what_the_program_takes_is_valid(one, describe):
    assert accepts(one, describe)
    assert is_valid(describe)


@pytest.mark.parametrize("describe", REFUSED, ids=json.dumps)
def test_what_is_not_valid_the_program_refuses(one, describe):
    assert not is_valid(describe)
    assert not accepts(one, describe)


def test_the_schema_describes_every_key():
    def walk(schema):
        for key, value in schema.get("properties", {}).items():
            assert "description" in value, key
            walk(value)
    walk(SCHEMA)
