"""What a template declares, as typed values: functions, tables, the API, and what events pass through.

Everything that the laptop cloud serves is decided here from the transformed template. What it cannot serve as AWS would
is an error. What has no meaning on a laptop (roles, log groups, permissions, deployments, alarms) is ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from local.errors import TemplateError
from local.template.document import LOCAL_BUCKET
from local.template.event_resources import EventResources, read_event_resources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local.template.document import Template

_FUNCTION_IN_URI: Final = re.compile(r"/functions/(arn:[^/]+)/invocations$")
_DEFAULT_INTEGRATION_TIMEOUT: Final = 29.0
_DEFAULT_AUTHORIZER_TTL: Final = 300
# The arguments of CreateTable that matter on a laptop. A table's other properties protect data in the cloud.
_TABLE_PROPERTIES: Final = (
    "KeySchema",
    "AttributeDefinitions",
    "BillingMode",
    "ProvisionedThroughput",
    "LocalSecondaryIndexes",
)
_INDEX_PROPERTIES: Final = ("IndexName", "KeySchema", "Projection", "ProvisionedThroughput")


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function."""

    name: str
    """Its logical id."""
    arn: str
    handler: str
    code: Path
    layers: tuple[Path, ...]
    """Folders of its layers."""
    environment: Mapping[str, str]
    memory_mb: int
    timeout: float
    """Seconds."""
    log_format: str
    log_level: str


@dataclass(frozen=True, slots=True)
class Table:
    """A DynamoDB table."""

    name: str
    """Its logical id."""
    properties: Mapping[str, Any]
    """The arguments of CreateTable, apart from its name."""
    ttl_attribute: str | None


@dataclass(frozen=True, slots=True)
class Authorizer:
    """A TOKEN authorizer."""

    name: str
    function: str
    header: str
    pattern: re.Pattern[str]
    """What the whole header must match before the function is asked."""
    ttl: int
    """Seconds that an answer is cached. 0 for no caching."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a resource."""

    resource: str
    """The path with its parameters, such as `/customers/{id}`."""
    method: str
    """In capitals. `ANY` for every method without a route of its own."""
    function: str
    authorizer: str | None
    timeout: float
    """Seconds that the gateway waits."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """How many requests a second a stage accepts."""

    rate: float
    burst: int


@dataclass(frozen=True, slots=True)
class Api:
    """A REST API with its stage."""

    api_id: str
    stage: str
    routes: tuple[Route, ...]
    authorizers: Mapping[str, Authorizer]
    gateway_responses: Mapping[str, Mapping[str, Any]]
    """By type, as in the OpenAPI extension x-amazon-apigateway-gateway-responses."""
    binary_media_types: frozenset[str]
    minimum_compression_size: int | None
    """Responses of at least this many bytes are compressed. None for never."""
    throttle: Throttle | None
    """None when the template sets no limit."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything that the laptop cloud serves."""

    functions: Mapping[str, Function]
    tables: tuple[Table, ...]
    api: Api
    events: EventResources
    outputs: Mapping[str, str]


def read_stack(template: Template) -> Stack:
    """Read what a template declares.

    Raises
    ------
    TemplateError
        If it is not exactly one REST API with Lambda proxy integrations and TOKEN authorizers.
    """
    layers = {
        template.arn(name): _local_folder(template, name, properties["Content"])
        for name, properties in template.resources("AWS::Lambda::LayerVersion").items()
    }
    functions = {
        name: _function(template, name, properties, layers)
        for name, properties in template.resources("AWS::Lambda::Function").items()
    }
    tables = tuple(_table(name, properties) for name, properties in template.resources("AWS::DynamoDB::Table").items())
    return Stack(
        functions,
        tables,
        _api(template, {function.arn: name for name, function in functions.items()}),
        read_event_resources(template, {name: function.timeout for name, function in functions.items()}),
        template.outputs(),
    )


def _local_folder(template: Template, name: str, code: Mapping[str, Any]) -> Path:
    if code.get("S3Bucket") != LOCAL_BUCKET:
        raise TemplateError(f"{name}: its code is not in a folder beside the template")
    folder = template.folder / str(code["S3Key"])
    if not folder.is_dir():
        raise TemplateError(f"{name}: there is no folder {code['S3Key']}")
    return folder


def _function(template: Template, name: str, properties: Mapping[str, Any], layers: Mapping[str, Path]) -> Function:
    if unknown := [arn for arn in properties.get("Layers", []) if arn not in layers]:
        raise TemplateError(f"{name}: the layer {unknown[0]} is not in the template")
    variables = properties.get("Environment", {}).get("Variables", {})
    return Function(
        name=name,
        arn=template.arn(name),
        handler=str(properties["Handler"]),
        code=_local_folder(template, name, properties["Code"]),
        layers=tuple(layers[arn] for arn in properties.get("Layers", [])),
        environment={key: str(value) for key, value in variables.items()},
        # Lambda's own defaults.
        memory_mb=int(properties.get("MemorySize", 128)),
        timeout=float(properties.get("Timeout", 3)),
        log_format=str(properties.get("LoggingConfig", {}).get("LogFormat", "Text")),
        log_level=str(properties.get("LoggingConfig", {}).get("ApplicationLogLevel", "INFO")),
    )


def _table(name: str, properties: Mapping[str, Any]) -> Table:
    arguments = {key: properties[key] for key in _TABLE_PROPERTIES if key in properties}
    if indexes := properties.get("GlobalSecondaryIndexes"):
        arguments["GlobalSecondaryIndexes"] = [
            {key: index[key] for key in _INDEX_PROPERTIES if key in index} for index in indexes
        ]
    if stream := properties.get("StreamSpecification"):
        # In CloudFormation, the view type alone turns the stream on.
        arguments["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream["StreamViewType"]}
    ttl = properties.get("TimeToLiveSpecification", {})
    # A template's parameter arrives as text.
    enabled = str(ttl.get("Enabled", "false")).lower() == "true"
    return Table(name, arguments, str(ttl["AttributeName"]) if enabled else None)


def _api(template: Template, functions: Mapping[str, str]) -> Api:
    apis = template.resources("AWS::ApiGateway::RestApi")
    stages = template.resources("AWS::ApiGateway::Stage")
    if len(apis) != 1 or len(stages) != 1:
        raise TemplateError("the laptop cloud serves exactly one REST API with one stage")
    ((api_id, properties),) = apis.items()
    (stage,) = stages.values()
    body: dict[str, Any] = properties["Body"]
    schemes = body.get("components", {}).get("securitySchemes") or body.get("securityDefinitions", {})
    authorizers = {name: _authorizer(name, scheme, functions) for name, scheme in schemes.items()}
    compressed = properties.get("MinimumCompressionSize")
    media_types = [*body.get("x-amazon-apigateway-binary-media-types", []), *properties.get("BinaryMediaTypes", [])]
    return Api(
        api_id=api_id,
        stage=str(stage["StageName"]),
        routes=tuple(
            _route(resource, method, operation, functions, authorizers)
            for resource, operations in body["paths"].items()
            for method, operation in operations.items()
        ),
        authorizers=authorizers,
        gateway_responses=body.get("x-amazon-apigateway-gateway-responses", {}),
        binary_media_types=frozenset(str(media_type).replace("~1", "/") for media_type in media_types),
        minimum_compression_size=None if compressed is None else int(compressed),
        throttle=_throttle(stage.get("MethodSettings", [])),
    )


def _function_of(uri: object, functions: Mapping[str, str], where: str) -> str:
    match = _FUNCTION_IN_URI.search(str(uri))
    if match is None or match[1] not in functions:
        raise TemplateError(f"{where}: {uri} is not a function of the template")
    return functions[match[1]]


def _authorizer(name: str, scheme: Mapping[str, Any], functions: Mapping[str, str]) -> Authorizer:
    extension = scheme.get("x-amazon-apigateway-authorizer", {})
    if extension.get("type") != "token":
        raise TemplateError(f"authorizer {name}: the laptop cloud supports TOKEN authorizers only")
    expression = str(extension.get("identityValidationExpression", ".*"))
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise TemplateError(f"authorizer {name}: {expression} is not a regular expression: {error}") from error
    return Authorizer(
        name=name,
        function=_function_of(extension["authorizerUri"], functions, f"authorizer {name}"),
        header=str(scheme["name"]),
        pattern=pattern,
        ttl=int(extension.get("authorizerResultTtlInSeconds", _DEFAULT_AUTHORIZER_TTL)),
    )


def _route(
    resource: str,
    method: str,
    operation: Mapping[str, Any],
    functions: Mapping[str, str],
    authorizers: Mapping[str, Authorizer],
) -> Route:
    where = f"{method.upper()} {resource}"
    integration = operation.get("x-amazon-apigateway-integration", {})
    if integration.get("type") != "aws_proxy":
        raise TemplateError(f"{where}: the laptop cloud supports Lambda proxy integrations only")
    # SAM writes no authorizer as `NONE`.
    names = [name for requirement in operation.get("security", []) for name in requirement if name != "NONE"]
    if len(names) > 1 or any(name not in authorizers for name in names):
        raise TemplateError(f"{where}: a route can have one TOKEN authorizer of the template, not {', '.join(names)}")
    milliseconds = integration.get("timeoutInMillis", _DEFAULT_INTEGRATION_TIMEOUT * 1000)
    return Route(
        resource=resource,
        method="ANY" if method == "x-amazon-apigateway-any-method" else method.upper(),
        function=_function_of(integration.get("uri"), functions, where),
        authorizer=names[0] if names else None,
        timeout=float(milliseconds) / 1000,
    )


def _throttle(settings: list[Mapping[str, Any]]) -> Throttle | None:
    limited = [setting for setting in settings if "ThrottlingRateLimit" in setting]
    for setting in limited:
        if (setting.get("HttpMethod"), setting.get("ResourcePath")) != ("*", "/*"):
            raise TemplateError("the laptop cloud supports throttles of the whole stage only, not of one method")
    if not limited:
        return None
    rate = float(limited[0]["ThrottlingRateLimit"])
    return Throttle(rate, int(limited[0].get("ThrottlingBurstLimit", rate)))
