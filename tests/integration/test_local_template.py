"""Templates are read as CloudFormation would read them. Anything unknown is an error that says so."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from local.errors import TemplateError
from local.gateway.throttle import TokenBucket
from local.template.document import Template
from local.template.stack import read_stack

_ROOT = Path(__file__).parents[2]


def _template(tmp_path: Path, resources: str, **parameters: str) -> Template:
    path = tmp_path / "template.yaml"
    head = """\
        Transform: AWS::Serverless-2016-10-31
        Parameters:
          Name: {Type: String, Default: Ada}
          Kind: {Type: String, Default: a, AllowedValues: [a, b]}
        Conditions:
          IsB: !Equals [!Ref Kind, b]
          IsNotB: !Not [!Condition IsB]
    """
    path.write_text(dedent(head) + "Resources:\n" + resources, encoding="utf-8")
    return Template(path, parameters, stack_id="arn:stack")


_TABLE = "  T: {Type: AWS::DynamoDB::Table, Properties: {KeySchema: []}}\n"


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ({"Ref": "Name"}, "Ada"),
        ({"Ref": "AWS::StackId"}, "arn:stack"),
        ({"Ref": "T"}, "T"),
        ({"Fn::GetAtt": ["T", "Arn"]}, "arn:aws:dynamodb:us-east-1:123456789012:table/T"),
        ({"Fn::GetAtt": ["T", "StreamArn"]}, "arn:aws:dynamodb:us-east-1:123456789012:table/T/stream/local"),
        (
            {"Fn::Sub": "${T.Arn}/index/${Name}/${!Name}"},
            "arn:aws:dynamodb:us-east-1:123456789012:table/T/index/Ada/${Name}",
        ),
        ({"Fn::Sub": ["${x}-${Name}", {"x": {"Ref": "Kind"}}]}, "a-Ada"),
        ({"Fn::Join": ["/", ["x", {"Ref": "Name"}]]}, "x/Ada"),
        ({"Fn::If": ["IsB", "yes", "no"]}, "no"),
        ({"a": {"Fn::If": ["IsNotB", {"Ref": "AWS::NoValue"}, 1]}, "b": [{"Ref": "AWS::NoValue"}]}, {"b": []}),
    ],
)
def test_intrinsic_functions_are_resolved(tmp_path: Path, value: object, resolved: object) -> None:
    assert _template(tmp_path, _TABLE).resolve(value) == resolved


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Fn::Cidr": []}, "Fn::Cidr"),
        ({"Ref": "Nobody"}, "no Nobody"),
        ({"Fn::GetAtt": ["T", "Owner"]}, "Owner"),
        ({"Ref": "Alarm"}, "AWS::CloudWatch::Alarm"),
    ],
)
def test_what_is_not_known_is_an_error(tmp_path: Path, value: object, message: str) -> None:
    template = _template(tmp_path, _TABLE + "  Alarm: {Type: AWS::CloudWatch::Alarm, Properties: {X: !Cidr []}}\n")
    with pytest.raises(TemplateError, match=message):
        template.resolve(value)


@pytest.mark.parametrize(("name", "value"), [("Nobody", "x"), ("Kind", "c")])
def test_a_wrong_parameter_is_an_error(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(TemplateError, match=name):
        _template(tmp_path, _TABLE, **{name: value})


def test_a_resource_whose_condition_does_not_hold_is_not_there(tmp_path: Path) -> None:
    resources = _TABLE + "  U: {Type: AWS::DynamoDB::Table, Condition: IsB, Properties: {KeySchema: []}}\n"
    assert set(_template(tmp_path, resources).resources("AWS::DynamoDB::Table")) == {"T"}
    assert set(_template(tmp_path, resources, Kind="b").resources("AWS::DynamoDB::Table")) == {"T", "U"}


def test_a_parameter_reaches_what_the_gateway_does() -> None:
    template = Template(_ROOT / "template.yaml", {"AuthorizerCacheSeconds": "0", "ThrottleRate": "5"}, stack_id="x")
    api = read_stack(template).api
    assert [authorizer.ttl for authorizer in api.authorizers.values()] == [0]
    assert api.throttle is not None
    assert api.throttle.rate == 5


@pytest.mark.parametrize("parameters", [{}, {"CorsOrigins": "https://app.example.com"}])
def test_every_gateway_route_of_the_service_has_an_authorizer(parameters: dict[str, str]) -> None:
    api = read_stack(Template(_ROOT / "template.yaml", parameters, stack_id="x")).api
    methods = {route.method for route in api.routes if route.authorizer}
    assert methods == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
    # A browser asks without a token what it may send.
    assert {route.function for route in api.routes if not route.authorizer} == ({"Preflight"} if parameters else set())


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    now = 0.0
    bucket = TokenBucket(rate=2, burst=3, clock=lambda: now)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    now = 60.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
