"""The published document has the fields of a job as the control plane reads them."""

from __future__ import annotations

from typing import Any

from nodus_control.api.openapi import document
from nodus_core.job_labels import MAX_LABELS
from nodus_core.spec import ECHOED, FIELDS, FILTERS, IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_SCHEMA, parse_spec

KEPT = ("type", "enum", "minimum", "maximum")


def schema_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["components"]["schemas"][name]
    return found


def test_a_submission_is_described_field_by_field() -> None:
    """As the table says; nothing else is taken, and what has no default is required."""
    published = schema_of("JobSpec")

    assert published["properties"] == {
        **{name: each.schema for name, each in FIELDS.items()},
        IDEMPOTENCY_KEY: IDEMPOTENCY_KEY_SCHEMA,
    }
    assert published["required"] == ["image", "gpu"]
    assert published["additionalProperties"] is False


def test_what_is_echoed_is_described_in_the_view() -> None:
    """By its type and range: what a submission was held to need not be said again."""
    published = schema_of("JobView")["properties"]

    for name in ECHOED:
        described = {key: value for key, value in published[name].items() if key in KEPT}
        given = {key: value for key, value in FIELDS[name].schema.items() if key in KEPT}
        if name == "labels":
            given["type"] = "object"  # there is always one, if only an empty one
        assert described == given


def test_every_filter_is_a_parameter_of_the_listing() -> None:
    """A value that a job cannot have is none of it."""
    parameters = {each.get("name"): each for each in document()["paths"]["/v1/jobs"]["get"]["parameters"]}

    assert FILTERS == ("name",)
    assert parameters["label"]["schema"]["maxItems"] == MAX_LABELS
    assert {"idempotency_key", "created_after", "created_before"} <= set(parameters)
    for name in FILTERS:
        schema = parameters[name]["schema"]
        assert parameters[name]["in"] == "query"
        assert schema["type"] == "string"
        assert schema["maxLength"] == FIELDS[name].schema["maxLength"]


def test_the_example_of_a_submission_is_one() -> None:
    """It has every field, and is accepted."""
    content = document()["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]

    parse_spec(content["example"])
    assert set(content["example"]) == {*FIELDS, IDEMPOTENCY_KEY}
