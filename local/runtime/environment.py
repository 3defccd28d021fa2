"""The environment of a function's process: Lambda's own variables and the template's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.template.document import REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.template.stack import Function


def function_environment(function: Function, endpoints: Mapping[str, str]) -> dict[str, str]:
    """Return all environment variables of a function's process.

    Parameters
    ----------
    function
        The function.
    endpoints
        Values of the endpoint variables. Each is passed on if the template declares it for this function.
    """
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
    return {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": function.log_format,
        "AWS_LAMBDA_LOG_LEVEL": function.log_level,
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_REGION": REGION,
        "AWS_SECRET_ACCESS_KEY": "local",
        "LAMBDA_TASK_ROOT": str(function.code),
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TZ": ":UTC",
        "_HANDLER": function.handler,
        **function.environment,
        **{name: value for name, value in endpoints.items() if name in function.environment},
    }
