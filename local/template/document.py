"""Reads a SAM template as CloudFormation would: transformed by AWS's own translator, intrinsic functions resolved.

The set of intrinsic functions and of resource types with attributes is small on purpose: anything else is an error that
names it, never a guess. Only what is asked for is resolved, so alarms and roles, for example, may use anything.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, Any, Final

import yaml
from samtranslator.model.exceptions import InvalidDocumentException  # type: ignore[import-untyped]
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

REGION: Final = "us-east-1"
ACCOUNT_ID: Final = "123456789012"
PARTITION: Final = "aws"
LOCAL_BUCKET: Final = "local"
"""Stands for the template's own folder in the transformed template, where the cloud has a bucket with uploaded code."""

# The ARNs of resources that others refer to.
_ARNS: Final = {
    "AWS::DynamoDB::Table": "arn:{partition}:dynamodb:{region}:{account}:table/{id}",
    "AWS::Events::EventBus": "arn:{partition}:events:{region}:{account}:event-bus/{id}",
    "AWS::IAM::Role": "arn:{partition}:iam::{account}:role/{id}",
    "AWS::KMS::Key": "arn:{partition}:kms:{region}:{account}:key/{id}",
    "AWS::Lambda::Function": "arn:{partition}:lambda:{region}:{account}:function:{id}",
    "AWS::Lambda::LayerVersion": "arn:{partition}:lambda:{region}:{account}:layer:{id}:1",
    "AWS::Logs::LogGroup": "arn:{partition}:logs:{region}:{account}:log-group:{id}:*",
    "AWS::S3::Bucket": "arn:{partition}:s3:::{id}",
    "AWS::SNS::Topic": "arn:{partition}:sns:{region}:{account}:{id}",
    "AWS::SQS::Queue": "arn:{partition}:sqs:{region}:{account}:{id}",
}
# Ref returns a name for these. A resource's local name is its logical id, in lower case where S3 requires it.
_NAMED: Final = frozenset(
    {
        "AWS::ApiGateway::Deployment",
        "AWS::ApiGateway::DomainName",
        "AWS::ApiGateway::RestApi",
        "AWS::CloudWatch::Dashboard",
        "AWS::DynamoDB::Table",
        "AWS::Events::EventBus",
        "AWS::IAM::Role",
        "AWS::KMS::Key",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
    }
)
# What GetAtt returns besides the ARN.
_NAME_ATTRIBUTES: Final = frozenset(
    {
        ("AWS::ApiGateway::DomainName", "RegionalDomainName"),
        ("AWS::Events::EventBus", "Name"),
        ("AWS::SQS::Queue", "QueueName"),
    }
)
_VARIABLE: Final = re.compile(r"\$\{(!?)([^}]+)\}")
_NO_VALUE: Final = object()


class _NoManagedPolicies:
    """Returns no ARNs of managed policies to the translator: nothing local enforces roles, and IAM is not asked."""

    def load(self) -> dict[str, str]:
        return {}


class Template:
    """A transformed template.

    Parameters
    ----------
    path
        The SAM template. Paths in it are relative to its folder.
    parameters
        Values that replace the parameters' defaults.
    stack_id
        The value of `AWS::StackId`.

    Raises
    ------
    TemplateError
        If the template cannot be read or transformed, or a parameter is unknown, missing or not allowed.
    """

    def __init__(self, path: Path, parameters: Mapping[str, str], *, stack_id: str) -> None:
        self.folder = path.resolve().parent
        try:
            source = yaml_parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise TemplateError(f"{path}: {error}") from error
        if not isinstance(source, dict) or not isinstance(source.get("Resources"), dict):
            raise TemplateError(f"{path}: not a template with Resources")
        self._parameters = _parameter_values(source.get("Parameters") or {}, parameters)
        self._pseudo: dict[str, object] = {
            "AWS::AccountId": ACCOUNT_ID,
            "AWS::NoValue": _NO_VALUE,
            "AWS::NotificationARNs": [],
            "AWS::Partition": PARTITION,
            "AWS::Region": REGION,
            "AWS::StackId": stack_id,
            "AWS::StackName": "local",
            "AWS::URLSuffix": "amazonaws.com",
        }
        transformed = _transform(path, source, self._parameters)
        self._outputs: dict[str, Any] = transformed.get("Outputs") or {}
        self._conditions: dict[str, Any] = transformed.get("Conditions") or {}
        self._resources: dict[str, dict[str, Any]] = {
            logical_id: resource
            for logical_id, resource in transformed["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }

    def resources(self, resource_type: str) -> dict[str, dict[str, Any]]:
        """Return the resolved properties of every resource of a type, by logical id."""
        return {
            logical_id: self.resolve(resource.get("Properties") or {})
            for logical_id, resource in self._resources.items()
            if resource["Type"] == resource_type
        }

    def outputs(self) -> dict[str, str]:
        """Return the values of the stack's outputs."""
        return {
            name: str(self.resolve(output["Value"]))
            for name, output in self._outputs.items()
            if "Condition" not in output or self._holds(output["Condition"])
        }

    def arn(self, logical_id: str) -> str:
        """Return the ARN of a resource."""
        resource_type = self._type(logical_id)
        if resource_type not in _ARNS:
            raise TemplateError(f"{logical_id}: the laptop cloud has no ARN for {resource_type}")
        return _ARNS[resource_type].format(
            partition=PARTITION, region=REGION, account=ACCOUNT_ID, id=self.name(logical_id)
        )

    def name(self, logical_id: str) -> str:
        """Return the local name of a resource."""
        return logical_id.lower() if self._type(logical_id) == "AWS::S3::Bucket" else logical_id

    def stream_arn(self, logical_id: str) -> str:
        """Return the ARN of a table's stream, as far as it can be known before the table exists."""
        return f"{self.arn(logical_id)}/stream/local"

    def queue_url(self, logical_id: str) -> str:
        """Return the URL of a queue, as AWS writes it. A client with another endpoint uses only the name in it."""
        return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/{self.name(logical_id)}"

    def resolve(self, node: Any) -> Any:  # noqa: ANN401 - a template's values are of any type
        """Resolve the intrinsic functions in a value of the template."""
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            intrinsic = self._intrinsics().get(name)
            if intrinsic is not None:
                return intrinsic(argument)
            if name.startswith("Fn::"):
                raise TemplateError(f"the laptop cloud does not support {name}")
        resolved = ((key, self.resolve(value)) for key, value in node.items())
        return {key: value for key, value in resolved if value is not _NO_VALUE}

    def _intrinsics(self) -> dict[str, Callable[[Any], object]]:
        return {
            "Fn::GetAtt": self._get_att,
            "Fn::If": self._if,
            "Fn::Join": lambda argument: argument[0].join(_text(self.resolve(part)) for part in argument[1]),
            "Fn::Sub": self._sub,
            "Ref": self._ref,
        }

    def _type(self, logical_id: str) -> str:
        if logical_id not in self._resources:
            raise TemplateError(f"the template has no {logical_id}")
        return str(self._resources[logical_id]["Type"])

    def _ref(self, name: str) -> object:
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._parameters:
            return self._parameters[name]
        resource_type = self._type(name)
        if resource_type in _NAMED:
            return self.name(name)
        if resource_type == "AWS::SQS::Queue":
            return self.queue_url(name)
        if resource_type in {"AWS::Lambda::LayerVersion", "AWS::SNS::Topic"}:
            return self.arn(name)
        if resource_type == "AWS::ApiGateway::Stage":
            return self.resolve(self._resources[name]["Properties"]["StageName"])
        raise TemplateError(f"{name}: the laptop cloud does not support Ref for {resource_type}")

    def _get_att(self, argument: str | list[str]) -> str:
        logical_id, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        resource_type = self._type(logical_id)
        if (resource_type, attribute) in _NAME_ATTRIBUTES:
            return self.name(logical_id)
        if (resource_type, attribute) == ("AWS::SQS::Queue", "QueueUrl"):
            return self.queue_url(logical_id)
        if (resource_type, attribute) == ("AWS::DynamoDB::Table", "StreamArn"):
            return self.stream_arn(logical_id)
        if attribute != "Arn":
            raise TemplateError(f"{logical_id}: the laptop cloud does not support the attribute {attribute}")
        return self.arn(logical_id)

    def _sub(self, argument: str | list[Any]) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def value(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return "${" + name + "}"
            if name in variables:
                return _text(self.resolve(variables[name]))
            return _text(self._get_att(name) if "." in name else self._ref(name))

        return _VARIABLE.sub(value, text)

    def _if(self, argument: list[Any]) -> object:
        condition, then, otherwise = argument
        return self.resolve(then if self._holds(condition) else otherwise)

    def _holds(self, condition: str) -> bool:
        if condition not in self._conditions:
            raise TemplateError(f"the template has no condition {condition}")
        return self._evaluate(self._conditions[condition])

    def _evaluate(self, node: dict[str, Any]) -> bool:
        ((name, argument),) = node.items()
        match name:
            case "Condition":
                return self._holds(argument)
            case "Fn::And":
                return all(map(self._evaluate, argument))
            case "Fn::Or":
                return any(map(self._evaluate, argument))
            case "Fn::Not":
                return not self._evaluate(argument[0])
            case "Fn::Equals":
                left, right = (_text(self.resolve(side)) for side in argument)
                return left == right
            case _:
                raise TemplateError(f"the laptop cloud does not support {name} in a condition")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TemplateError(f"{value!r} is not a string, a number or a boolean")


def _parameter_values(declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, str]:
    if unknown := given.keys() - declared.keys():
        raise TemplateError(f"the template has no parameter {', '.join(sorted(unknown))}")
    values: dict[str, str] = {}
    for name, declaration in declared.items():
        if name not in given and "Default" not in declaration:
            raise TemplateError(f"parameter {name} has no default: set it with --parameter {name}=…")
        values[name] = _text(given.get(name, declaration.get("Default")))
        allowed = [_text(value) for value in declaration.get("AllowedValues", [])]
        if allowed and values[name] not in allowed:
            raise TemplateError(f"parameter {name}: {values[name]} is not one of {', '.join(allowed)}")
    return values


def _transform(path: Path, source: dict[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    sections = [section for section in (source.get("Globals") or {}).values() if isinstance(section, dict)]
    sections += [resource.get("Properties") or {} for resource in source["Resources"].values()]
    for section in sections:
        for name in ("CodeUri", "ContentUri"):
            # The translator accepts only uploaded code, whose address `sam package` would have put here.
            if isinstance(section.get(name), str):
                section[name] = f"s3://{LOCAL_BUCKET}/{section[name]}"
    # The translator reads the region only from here.
    os.environ["AWS_DEFAULT_REGION"] = REGION
    # It warns of feature flags that only AWS can set.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    try:
        transformed = transform(source, dict(parameters), _NoManagedPolicies())
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes)
        raise TemplateError(f"{path}: {causes}") from error
    return dict(transformed)
