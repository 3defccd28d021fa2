"""The layer as `sam build` makes it: compiled, for both processors, with botocore's data cut down to what is called."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore import xform_name
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from local.runtime.layer_packages import installed_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cloud

ROOT: Final = Path(__file__).parents[2]
LAYER: Final = ROOT / "layers" / "customers"
UNCHECKED_HASH: Final = (0b01).to_bytes(4, "little")
"""Flags of bytecode that is used whatever the times and contents of the source files are (PEP 552)."""

OPERATIONS: Final[dict[str, list[str]]] = {
    "dynamodb:ConditionCheckItem": ["TransactWriteItems"],
    "dynamodb:PartiQLInsert": ["BatchExecuteStatement"],
    "s3:PutObject": ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"],
    # With this, S3 says that a file is not there. Without it, S3 says that access is denied.
    "s3:ListBucket": [],
}
"""What an action permits, if that is not the operation of the same name.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""
LAMBDA_ITSELF: Final = frozenset(
    {
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
    }
)
"""What Lambda does with a function's role, and no function does itself. (If one does, its calls are checked below.)"""

ENDPOINTS: Final = """
import json, sys
import botocore, botocore.session
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError, EndpointVariantError
from botocore.regions import EndpointResolver

def attempt(resolve, *args, **kwargs):
    try:
        found = resolve(*args, **kwargs)
    except (EndpointProviderError, EndpointVariantError) as error:
        return type(error).__name__
    return found if isinstance(found, dict | None) else [found.url, found.properties, found.headers]

loader = botocore.session.get_session().get_component("data_loader")
data, partitions = loader.load_data("endpoints"), loader.load_data("partitions")
resolver = EndpointResolver(data)
regions = [region for partition in data["partitions"] for region in partition["regions"]]
regions += ["aws-global", "aws-cn-global", "us-northwest-9", "cn-south-9", "local"]
answers = {"version": botocore.__version__, "regions": len(regions)}
for service in sys.argv[1:]:
    provider = EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"), partitions)
    for region in regions:
        for fips in (False, True):
            for dual in (False, True):
                case = f"{service} {region} fips={fips} dual={dual}"
                variant = dict(use_fips_endpoint=fips, use_dualstack_endpoint=dual)
                answers[case] = [
                    attempt(provider.resolve_endpoint, Region=region, UseFIPS=fips, UseDualStack=dual),
                    attempt(resolver.construct_endpoint, service, region, **variant),
                ]
print(json.dumps(answers))
"""


CALLS: Final = """
import json, sys
import botocore.session
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

SAMPLES = {"string": "a-text", "integer": 1, "long": 1, "list": [], "map": {}, "structure": {}, "blob": b""}
config = Config(retries={"total_max_attempts": 1}, parameter_validation=False, s3={"addressing_style": "path"})
answers = {}
for service in sys.argv[1:]:
    client = botocore.session.get_session().create_client(service, config=config, endpoint_url="http://127.0.0.1:9")
    for method, operation in client.meta.method_to_api_mapping.items():
        shape = client.meta.service_model.operation_model(operation).input_shape
        members = {name: SAMPLES[shape.members[name].type_name] for name in shape.required_members}
        try:
            getattr(client, method)(**members)
        except EndpointConnectionError:
            answers[operation] = "sent"
        except Exception as error:
            answers[operation] = repr(error)
print(json.dumps(answers))
"""


LATE: Final = """
import sys
from importlib import import_module

package = sys.argv[1]
late = import_module(package)
assert package + "._whole" not in sys.modules
whole = vars(import_module(package + "._whole"))
names = whole.keys() - vars(import_module("customers")).keys() - {"__annotations__", "annotations"}
assert names
for name in names:
    assert getattr(late, name) is whole[name], name
try:
    late.nothing
except AttributeError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def packages(built: Path) -> Path:
    return built / "CustomersLayer" / "python"


@pytest.fixture(scope="module")
def operations(packages: Path) -> dict[str, list[str]]:
    """Return the operations that the layer knows, by service."""
    models = (packages / "botocore" / "data").glob("*/*/service-2.json")
    return {path.parts[-3]: list(json.loads(path.read_text())["operations"]) for path in models}


@pytest.fixture(scope="module")
def methods(operations: dict[str, list[str]]) -> set[str]:
    """Return all methods of the clients in use, from botocore's full data."""
    full = installed_packages(LAYER)
    assert full is not None
    code = """
import json, sys, botocore.session
session = botocore.session.get_session()
print(json.dumps([name for one in sys.argv[1:] for name in session.create_client(one).meta.method_to_api_mapping]))
"""
    answer = run(full, code, *operations)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


def called_in(path: Path) -> set[str]:
    """Return the names of the methods that a module calls."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.func.attr for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}


def run(packages: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program with only the given packages."""
    return subprocess.run(
        [sys.executable, "-S", "-c", code, *arguments],
        env={
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_SECRET_ACCESS_KEY": "test",
            "PYTHONPATH": str(packages),
        },
        check=False,
        capture_output=True,
        text=True,
    )


def policies() -> Iterator[dict[str, Any]]:
    template = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"].get("Policies", []):
                yield from policy["PolicyDocument"]["Statement"]


def test_every_module_is_compiled_and_its_bytecode_is_always_used(packages: Path) -> None:
    modules = list(packages.rglob("*.py"))
    assert len(modules) > 500
    for module in modules:
        compiled = Path(importlib.util.cache_from_source(module)).read_bytes()
        assert compiled[:8] == importlib.util.MAGIC_NUMBER + UNCHECKED_HASH, module


def test_a_traceback_names_the_path_in_lambda(packages: Path) -> None:
    compiled = Path(importlib.util.cache_from_source(packages / "customers" / "model.py")).read_bytes()
    assert b"/opt/python/customers/model.py" in compiled
    assert str(packages).encode() not in compiled


def test_the_layer_has_at_most_30_megabytes(packages: Path) -> None:
    assert sum(file.stat().st_size for file in packages.rglob("*") if file.is_file()) <= 30_000_000


def test_it_serves_both_processors(packages: Path) -> None:
    modules = {path.name for path in packages.rglob("*.so")}
    assert modules == {f"_pydantic_core.cpython-313-{machine}-linux-gnu.so" for machine in ("aarch64", "x86_64")}


def test_it_holds_every_operation_that_a_role_permits(operations: dict[str, list[str]]) -> None:
    permitted = {action for statement in policies() for action in statement["Action"]} - LAMBDA_ITSELF
    assert permitted
    for action in permitted:
        service, _, name = action.partition(":")
        for operation in OPERATIONS.get(action, [name]):
            assert operation in operations[service], action


def test_it_holds_every_operation_that_the_shared_code_calls(
    operations: dict[str, list[str]], methods: set[str]
) -> None:
    called = methods & set().union(*(called_in(path) for path in (LAYER / "customers").rglob("*.py")))
    assert {"get_item", "put_events", "send_message_batch", "upload_part"} <= called
    assert called <= {xform_name(operation) for names in operations.values() for operation in names}


def test_it_holds_every_operation_that_a_function_calls_itself(
    operations: dict[str, list[str]], methods: set[str]
) -> None:
    # The layer's build sees only the layer. An operation that only a function names is missing from it.
    held = {xform_name(operation) for names in operations.values() for operation in names}
    for path in (ROOT / "functions").glob("*/app.py"):
        assert called_in(path) & methods <= held, f"{path.parent.name}: call it in layers/customers"


def test_every_operation_that_it_holds_can_be_called(packages: Path, operations: dict[str, list[str]]) -> None:
    answer = run(packages, CALLS, *operations)
    assert answer.returncode == 0, answer.stderr
    # Each call gets as far as the network, where nobody listens.
    assert json.loads(answer.stdout) == {name: "sent" for names in operations.values() for name in names}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ('create_client("dynamodb").describe_table(TableName="any")', "has no attribute 'describe_table'"),
        ('create_client("s3").get_paginator("list_objects_v2")', "KeyError: 'list_objects_v2'"),
        ('create_client("sts")', "UnknownServiceError"),
    ],
)
def test_a_call_that_it_does_not_hold_fails_at_once(packages: Path, call: str, error: str) -> None:
    answer = run(packages, f"import botocore.session\nbotocore.session.get_session().{call}")
    assert answer.returncode == 1
    assert re.search(error, answer.stderr.splitlines()[-1])


def test_endpoints_are_those_of_the_uncut_data_in_every_region(
    packages: Path, operations: dict[str, list[str]]
) -> None:
    full = installed_packages(LAYER)
    assert full is not None
    cut, uncut = (run(folder, ENDPOINTS, *sorted(operations)) for folder in (packages, full))
    assert uncut.returncode == 0, uncut.stderr
    wanted = json.loads(uncut.stdout)
    assert wanted["regions"] > 40
    for case, endpoint in {
        "dynamodb us-east-1 fips=True dual=False": "https://dynamodb-fips.us-east-1.amazonaws.com",
        "dynamodb cn-north-1 fips=False dual=False": "https://dynamodb.cn-north-1.amazonaws.com.cn",
        "sqs eu-west-1 fips=False dual=True": "https://sqs.eu-west-1.api.aws",
    }.items():
        assert wanted[case][0][0] == endpoint
    assert json.loads(cut.stdout) == wanted


@pytest.mark.parametrize(
    "package",
    ["aws_lambda_powertools", "aws_lambda_powertools.utilities.jmespath_utils", "pydantic_core", "urllib3.http2"],
)
def test_a_package_that_loads_by_name_has_every_name(packages: Path, package: str) -> None:
    answer = run(packages, LATE, package)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"module '{package}' has no attribute 'nothing'\n"


def contents(packages: Path) -> dict[str, str]:
    """Return the digest of every file."""
    files = (path for path in packages.rglob("*") if path.is_file())
    return {str(path.relative_to(packages)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_another_build_by_a_python_elsewhere_is_the_same_to_the_byte(packages: Path, tmp_path: Path) -> None:
    python = tmp_path / "another" / "python"
    python.parent.mkdir()
    python.symlink_to(sys._base_executable)  # type: ignore[attr-defined]  # noqa: SLF001 (this one, outside of its environment)
    source = shutil.copytree(LAYER, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    answer = subprocess.run(
        [python, "-B", "build.py", tmp_path / "layer"],
        cwd=source,
        env={**os.environ, "PYTHONPATH": sysconfig.get_path("purelib"), "PYTHONHASHSEED": "7"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert contents(tmp_path / "layer" / "python") == contents(packages)


def test_it_is_built_by_the_python_that_it_is_made_for() -> None:
    versions = [(folder / ".python-version").read_text() for folder in (ROOT, LAYER)]
    assert versions[0] == versions[1]


def test_without_that_python_the_build_says_what_to_do(tmp_path: Path) -> None:
    answer = subprocess.run(
        ["make", "build-CustomersLayer", f"ARTIFACTS_DIR={tmp_path}", "PYTHON=python3.0"],
        cwd=LAYER,
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 2
    assert "error: building the layer needs python3.0: put it on the PATH" in answer.stderr
