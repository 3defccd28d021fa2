"""Each function's role grants only what the function calls, on the resources that it uses."""

from __future__ import annotations

import copy
import json
import re
import secrets
import time
from contextlib import contextmanager
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from customers.fields import SORT_FIELDS
from customers.imports import chunks as chunks_module
from customers.store import external_ids
from customers.store.identity import HALF, Salt
from customers.store.tokens import TokenStore
from customers.tokens import SCOPES, new_token, token_hash
from tests.conftest import ROOT
from tests.integration.import_cloud import BUCKET, Fault
from tests.sending import dynamodb_call, error_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from mypy_boto3_dynamodb import DynamoDBClient

    from local.template.stack import Stack
    from tests.conftest import Handler
    from tests.integration.import_cloud import ImportCloud, Message

pytestmark = pytest.mark.cloud

type Template = dict[str, Any]

POLLER = {
    "SQS": ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage"),
    "DynamoDB": ("DescribeStream", "GetRecords", "GetShardIterator"),
}
"""What Lambda does with a function's role to read what triggers it.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html
"""


class Grant(NamedTuple):
    """An action on a resource, written as in the template, with logical ids: `CustomersTable/index/…`."""

    action: str
    resource: str


type Calls = dict[str, set[Grant]]
"""The functions' calls, by their logical ids."""


# What a role grants, and what a function needs.


def granted(template: Template, function: str) -> list[Grant]:
    """Return what a function's role grants, in the role's order."""
    role = template["Resources"][template["Resources"][function]["Properties"]["Role"]["Fn::GetAtt"][0]]["Properties"]
    assert role.keys() == {"AssumeRolePolicyDocument", "Policies"}
    found = []
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement.keys() - {"Condition"} == {"Effect", "Action", "Resource"}
            assert statement["Effect"] == "Allow"
            resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            places = [_written(resource) + _item_in(statement) for resource in resources]
            found += [Grant(action, place) for action in statement["Action"] for place in places]
    return found


def _item_in(statement: dict[str, Any]) -> str:
    """Return which item of a table a statement is about, if it is about only one."""
    match statement.get("Condition"):
        case None:
            return ""
        case {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [str(key)]}} as condition if len(condition) == 1:
            return f"/{key}"
    pytest.fail(f"a condition that is not known here: {statement}")


def _written(resource: Any) -> str:
    match resource:
        case {"Fn::GetAtt": [name, "Arn"]}:
            return str(name)
        case {"Fn::GetAtt": [name, "StreamArn"]}:
            return f"{name}/stream"
        case {"Fn::Sub": str(text)}:
            return text.replace("${", "").replace(".Arn}", "")
    return str(resource)


def done_by_lambda(template: Template, function: str) -> set[Grant]:
    """Return what Lambda does with a function's role: it writes the log, and reads what triggers the function."""
    properties = template["Resources"][function]["Properties"]
    log = properties["LoggingConfig"]["LogGroup"]["Ref"]
    found = {Grant(f"logs:{action}", log) for action in ("CreateLogStream", "PutLogEvents")}
    for event in properties.get("Events", {}).values():
        kind, source = event["Type"], event["Properties"]
        if kind == "SQS":
            found |= {Grant(f"sqs:{action}", _written(source["Queue"])) for action in POLLER[kind]}
        if kind == "DynamoDB":
            stream = _written(source["Stream"])
            found |= {Grant(f"dynamodb:{action}", stream) for action in POLLER[kind]}
            found.add(Grant("dynamodb:ListStreams", f"{stream}/*"))
            destination = source["DestinationConfig"]["OnFailure"]
            found.add(Grant("sqs:SendMessage", _written(destination["Destination"])))
    return found


def differences(template: Template, calls: Calls) -> list[str]:
    """Say what the roles lack, and what they grant beyond what is called."""
    found = []
    for function, called in calls.items():
        grants = granted(template, function)
        lambdas = done_by_lambda(template, function)
        used = set()
        for call in called | lambdas:
            covering = {grant for grant in grants if grant.action == call.action and _covers(grant, call)}
            used |= covering
            if not covering:
                found.append(f"{function} lacks {call.action} on {call.resource}")
        found += [f"{function} never uses {grant.action} on {grant.resource}" for grant in grants if grant not in used]
        found += [f"{function} may {grant.action} on {grant.resource}" for grant in grants if _is_wide(grant, lambdas)]
    return sorted(found)


def _covers(grant: Grant, call: Grant) -> bool:
    # A wildcard may stand only for object keys in a bucket.
    return fnmatchcase(call.resource, grant.resource) if grant.action.startswith("s3:") else call == grant


def _is_wide(grant: Grant, lambdas: set[Grant]) -> bool:
    if "*" in grant.action:
        return True
    return "*" in grant.resource and grant not in lambdas and not re.fullmatch(r"ImportBucket/\w+/\*", grant.resource)


# What the functions call.


class Recorder:
    """Records what the functions call, as IAM would see it."""

    def __init__(self, template: Template) -> None:
        self.calls: Calls = {
            name: set()
            for name, resource in template["Resources"].items()
            if resource["Type"] == "AWS::Serverless::Function"
        }
        self._function: str | None = None
        self._logical_ids = {name.lower(): name for name in template["Resources"]}
        self.refused: str | None = None
        """The operation that is throttled."""
        self.lost: str | None = None
        """The operation whose response is lost."""

    @contextmanager
    def of(self, function: str) -> Iterator[None]:
        """Record what is called in the block."""
        self._function = function
        try:
            yield
        finally:
            self._function = None

    def recorded(self, function: str, handler: Handler) -> Handler:
        """Wrap a handler."""

        def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
            with self.of(function):
                return handler(event, context)

        return handle

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the method through which clients make calls, all but the one of DynamoDB."""

        def recorded(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
            if self._function is None:
                return call(client, operation, parameters)
            calls = self.calls[self._function]
            calls |= self._grants(client.meta.service_model.service_name, operation, parameters)
            try:
                return call(client, operation, parameters)
            except client.exceptions.ClientError as error:
                # Without the permission to list a bucket, S3 says that access is denied.
                if error.response["Error"]["Code"] == "NoSuchKey":
                    calls.add(Grant("s3:ListBucket", self._logical_ids[parameters["Bucket"]]))
                raise

        return recorded

    def around_sending(self, send: Callable[..., AWSResponse]) -> Callable[..., AWSResponse]:
        """Wrap the method that sends requests: the client of DynamoDB makes its calls itself."""

        def recorded(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
            asked = dynamodb_call(request)
            if self._function is None or asked is None:
                return send(session, request)
            self.calls[self._function] |= self._grants("dynamodb", *asked)
            if asked[0] == self.refused:
                return error_answer("ThrottlingException")(request)
            answer = send(session, request)
            if asked[0] == self.lost:
                raise ReadTimeoutError(endpoint_url="store")
            return answer

        return recorded

    def _grants(self, service: str, operation: str, parameters: dict[str, Any]) -> set[Grant]:
        """Return what IAM requires for a call. An operation that is not known here counts as missing in the role.

        https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
        """
        names: dict[str, Callable[[], set[tuple[str, str]]]] = {
            "dynamodb": lambda: self._dynamodb(operation, parameters),
            "s3": lambda: {(_S3[operation], f"{parameters['Bucket']}/{parameters['Key']}")},
            "sqs": lambda: {(_SQS[operation], urlsplit(parameters["QueueUrl"]).path.rpartition("/")[2])},
            "events": lambda: {(operation, entry["EventBusName"]) for entry in parameters["Entries"]},
        }
        found = set()
        try:
            for action, name in names[service]():
                resource, slash, rest = name.partition("/")
                found.add(Grant(f"{service}:{action}", f"{self._logical_ids[resource.lower()]}{slash}{rest}"))
        except KeyError as unknown:
            found.add(Grant(f"{service}:{operation}", f"unknown {unknown}"))
        return found

    def _dynamodb(self, operation: str, parameters: dict[str, Any]) -> set[tuple[str, str]]:
        match operation:
            case "TransactWriteItems":
                # Each part needs its permission, the whole needs none.
                puts = [part for item in parameters["TransactItems"] for part in item.items()]
                return {(f"{kind}Item", part["TableName"]) for kind, part in puts}
            case "BatchGetItem":
                return {(operation, table) for table in parameters["RequestItems"]}
            case "BatchExecuteStatement":
                parts = [statement["Statement"].split() for statement in parameters["Statements"]]
                return {(f"PartiQL{verb.capitalize()}", table.strip('"')) for verb, _, table, *_ in parts}
            case "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "Query" | "Scan":
                place = f"/index/{parameters['IndexName']}" if "IndexName" in parameters else ""
                # The only item that a role names.
                if parameters.get("Key") == {"id": {"S": "cursor-key"}}:
                    place = "/cursor-key"
                return {(operation, parameters["TableName"] + place)}
        raise KeyError(operation)


_S3 = {"GetObject": "GetObject", "PutObject": "PutObject"} | dict.fromkeys(
    ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"), "PutObject"
)
_SQS = {"ChangeMessageVisibility": "ChangeMessageVisibility"} | dict.fromkeys(
    ("SendMessage", "SendMessageBatch"), "SendMessage"
)


@pytest.fixture(scope="module")
def template() -> Template:
    # Aliases are written out, so that a test can change only one role.
    parsed: Template = json.loads(json.dumps(yaml_parse((ROOT / "template.yaml").read_text())))
    return parsed


@pytest.fixture(scope="module")
def calls(
    template: Template,
    stack: Stack,
    function: Callable[[str], Handler],
    cloud: ImportCloud,
    dynamodb: DynamoDBClient,
) -> Calls:
    """Return what every function calls, on every path through its code."""
    recorder = Recorder(template)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", recorder.around(BaseClient._make_api_call))  # type: ignore[attr-defined]  # noqa: SLF001 (where other calls pass)
        patch.setattr(URLLib3Session, "send", recorder.around_sending(URLLib3Session.send))
        _call_endpoints(recorder, function)
        _authorize(recorder, function, TokenStore(dynamodb, stack.functions["Authorize"].environment["TOKENS_TABLE"]))
        patch.setattr(chunks_module, "_ROWS", 2)
        for name, app in cloud.apps.items():
            patch.setattr(app, "lambda_handler", recorder.recorded(name, app.lambda_handler))
        with _without_salts():
            _import(cloud)
        _publish(cloud)
    return recorder.calls


CALLER: Final = {"token_id": "a-token", "scopes": "customers:export"}


def _call_endpoints(recorder: Recorder, function: Callable[[str], Handler]) -> None:
    def call(
        name: str, path: str, body: object = None, headers: dict[str, str] | None = None, **query: str
    ) -> dict[str, Any]:
        ending = path.rpartition("/")[2]
        event = {
            "httpMethod": "GET",
            "path": path,
            "pathParameters": {"customer_id": ending, "group_id": ending, "external_id": ending},
            "multiValueHeaders": {name: [value] for name, value in (headers or {}).items()},
            "multiValueQueryStringParameters": {name: [value] for name, value in query.items()},
            "requestContext": {
                "requestId": str(uuid4()),
                "path": path,
                "authorizer": {"token_id": "a-token", "scopes": "customers:export"},
            },
            "body": None if body is None else json.dumps(body),
            "isBase64Encoded": False,
        }
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 15_000)
        with recorder.of(name):
            return function(name)(event, context)

    group = secrets.randbelow(2**53 - 1) + 1
    john = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": group}
    many = {"customers": [john, john]}
    path = "/api/customers"
    key, other_key = ({"Idempotency-Key": str(uuid4())} for _ in range(2))
    answers = [call("CreateCustomers", path, john, headers) for headers in (None, key, key)]
    answers += [call("CreateCustomers", path, many, size="list", on_error=way) for way in ("abort", "keep")]
    assert [answer["statusCode"] for answer in answers] == [201] * 5
    recorder.refused = "TransactWriteItems"
    assert call("CreateCustomers", path, many, other_key, size="list")["statusCode"] == 503
    recorder.refused = None
    recorder.lost = "PutItem"
    assert call("CreateCustomers", path, john)["statusCode"] == 201
    recorder.lost = None

    for sort in SORT_FIELDS:
        assert call("ListGroup", f"{path}/group/{group}", sort=sort, limit="1")["statusCode"] == 200
    customer = f"{path}/{json.loads(answers[0]['body'])['id']}"
    _call_by_external_id(call, john)
    _call_history(call, recorder, function, customer)
    for name, body in (("GetCustomer", None), ("UpdateCustomer", {"age": 7}), ("DeleteCustomer", None)):
        # With a version that does not exist, and with any version.
        call(name, customer, body, {"If-Match": '"99"'})
        recorder.lost = "UpdateItem"
        assert call(name, customer, body)["statusCode"] == 200
        recorder.lost = None


def _call_by_external_id(call: Callable[..., dict[str, Any]], john: dict[str, Any]) -> None:
    path, keys = "/api/customers", [str(uuid4()) for _ in range(3)]
    with pytest.MonkeyPatch.context() as patch, _without_salts():
        # Every external id gets the same ids, so the second one has to skip the first one's id.
        first = HALF + secrets.randbelow(HALF // 2)
        patch.setattr(Salt, "id", lambda _, __, draw: first + draw)
        assert call("PutCustomer", f"{path}/external/{keys[0]}", john)["statusCode"] == 201
        assert call("PutCustomer", f"{path}/external/{keys[1]}", john)["statusCode"] == 201
        assert call("CreateCustomers", path, {**john, "external_id": keys[2]})["statusCode"] == 201
        assert call("GetExternal", f"{path}/external/{keys[1]}")["statusCode"] == 200
        assert call("FindCustomers", path, external_id=keys[0])["statusCode"] == 200
    assert call("FindCustomers", path, email=john["email"])["statusCode"] == 200
    assert call("FindCustomers", path, limit="1")["statusCode"] == 200


def _call_history(
    call: Callable[..., dict[str, Any]], recorder: Recorder, function: Callable[[str], Handler], customer: str
) -> None:
    created, changed, deleted = _changes()["Records"]
    for records in ([created, changed], [deleted]):
        with recorder.of("KeepHistory"):
            assert function("KeepHistory")({"Records": records}, None) == {"batchItemFailures": []}
        known = f"/api/customers/{created['dynamodb']['Keys']['id']['N']}"
        assert call("GetHistory", known, limit="1")["statusCode"] == 200
    # No change of this customer is kept.
    assert call("GetHistory", customer)["statusCode"] == 200


@contextmanager
def _without_salts() -> Iterator[None]:
    """Begin without a salt in any table, so that functions make one. Afterwards, everybody finds the old one again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("customers.store.external_ids._SALT_ID", -secrets.randbelow(2**53))
        external_ids.salt_of.cache_clear()
        yield
    external_ids.salt_of.cache_clear()


def _authorize(recorder: Recorder, function: Callable[[str], Handler], tokens: TokenStore) -> None:
    token = new_token()
    tokens.put(token_hash(token), SCOPES, "a test", int(time.time()) + 60)
    arn = "arn:aws:execute-api:us-east-1:123456789012:api/prod/GET/api/customers/1"
    with recorder.of("Authorize"):
        answer: Any = function("Authorize")({"authorizationToken": token, "methodArn": arn}, object())
    assert answer["policyDocument"]["Statement"][0]["Effect"] == "Allow"


def _import(cloud: ImportCloud) -> None:
    """Import files and messages. Functions are killed before and after each call in turn, and get the message again."""
    rows = "".join(f"J,D,j{number}@example.com,1,\n" for number in range(2))
    keyed = "J,NAME,j@example.com,1,key\n"
    data = f"first_name,last_name,email,group_id,external_id\n{keyed}{rows},D,nobody,1,\n".encode()

    def drop(*, lasting: bool = True) -> Message:
        key = f"imports/{uuid4()}.csv"
        # The customer with an external id is different each time, and is therefore updated.
        cloud.put(key, data.replace(b"NAME", key[-12:].encode()))
        if not lasting:
            cloud.s3.delete_object(Bucket=BUCKET, Key=key)
        (message,) = cloud.take("PlanQueue")
        return message

    def kill_at_each_call(make: Callable[[], Message]) -> None:
        _, calls = cloud.invoke(make())
        cloud.run()
        for call in range(len(calls)):
            message = make()
            cloud.invoke(message, Fault(call, "before"))
            # First the chunks that were already sent, then the rest.
            cloud.run()
            cloud.deliver(message)
            cloud.run()

    def chunk() -> Message:
        cloud.deliver(drop())
        first, last = cloud.take("ChunkQueue")
        cloud.deliver(first)
        return last

    cloud.run()
    kill_at_each_call(drop)
    kill_at_each_call(chunk)
    kill_at_each_call(lambda: chunk()._replace(queue="ChunkDeadLetters"))
    kill_at_each_call(lambda: drop()._replace(queue="PlanDeadLetters"))
    # The rejected rows are no longer kept when the import ends.
    for queue in ("ChunkQueue", "ChunkDeadLetters"):
        cloud.deliver(drop())
        first, last = cloud.take("ChunkQueue")
        cloud.deliver(last)
        for part in cloud.s3.list_objects_v2(Bucket=BUCKET, Prefix="parts/")["Contents"]:
            cloud.s3.delete_object(Bucket=BUCKET, Key=part["Key"])
        cloud.deliver(first._replace(queue=queue))
    # A file whose chunks are all recorded, but whose plan is not.
    cloud.deliver(drop(lasting=False))
    cloud.milliseconds, enough = 1, cloud.milliseconds
    cloud.invoke(drop())
    cloud.milliseconds = enough
    cloud.send("no customer")
    cloud.run()
    assert [message.body for message in cloud.take("ImportDeadLetters")] == ["no customer"]


def _publish(cloud: ImportCloud) -> None:
    assert cloud.apps["PublishChanges"].lambda_handler(_changes(), None) == {"batchItemFailures": []}


def _changes() -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / "publish_changes" / "changes.json").read_text())
    return event


# The tests.


def test_every_role_grants_what_its_function_calls_and_nothing_else(template: Template, calls: Calls) -> None:
    assert {function for function, called in calls.items() if not called} == {"Preflight"}
    assert differences(template, calls) == []


def _statements(template: Template) -> Iterator[tuple[str, Any, list[Any]]]:
    """Yield each statement of each function's role: the function, the statement, and its actions."""
    for function, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            role = template["Resources"][resource["Properties"]["Role"]["Fn::GetAtt"][0]]
            for policy in role["Properties"]["Policies"]:
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield function, statement, statement["Action"]


def test_any_action_taken_from_a_role_is_missed(template: Template, calls: Calls) -> None:
    changed = copy.deepcopy(template)
    for function, statement, actions in _statements(changed):
        for action in list(actions):
            index = actions.index(action)
            actions.remove(action)
            found = differences(changed, calls)
            actions.insert(index, action)
            assert found, (function, statement, action)
            assert all(line.startswith(f"{function} lacks {action} on ") for line in found)


def test_any_action_added_to_a_role_is_found(template: Template, calls: Calls) -> None:
    changed = copy.deepcopy(template)
    for function, statement, actions in _statements(changed):
        for added in ("dynamodb:DeleteTable", "s3:DeleteObject", "sqs:PurgeQueue", f"{actions[0].partition(':')[0]}:*"):
            actions.append(added)
            found = differences(changed, calls)
            actions.remove(added)
            assert any(f"{function} never uses {added} on " in line for line in found), (function, statement, added)


def test_any_resource_made_wider_is_found(template: Template, calls: Calls) -> None:
    changed = copy.deepcopy(template)
    for function, statement, _ in _statements(changed):
        resource = statement["Resource"]
        wide = ["*", {"Fn::Sub": "${CustomersTable.Arn}/index/*"}, {"Fn::Sub": "${ImportBucket.Arn}/*"}]
        for wider in (*wide, {"Fn::GetAtt": ["TokensTable", "Arn"]}):
            statement["Resource"] = wider
            found = differences(changed, calls)
            if wider != resource:
                assert any(line.startswith(function) for line in found), (function, statement)
        statement["Resource"] = resource
