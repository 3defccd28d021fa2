"""Log lines, and the metrics that some of them carry.

A metric is a member of a line that is logged anyway, in CloudWatch's embedded metric format, and so costs no call.
CloudWatch bills a metric for each combination of its dimensions: only what has few values may be one.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from aws_lambda_powertools import Logger

if TYPE_CHECKING:
    from collections.abc import Mapping

# Lambda looks at a line's level only when its timestamp has this form.
logger: Final = Logger(use_rfc3339=True)
# The client library's own lines may hold what it sent.
logging.getLogger("botocore").setLevel(logging.WARNING)

_NAMESPACE: Final = os.environ.get("METRICS_NAMESPACE", "customers")


def metrics(
    values: Mapping[str, float], unit: Literal["Count", "Milliseconds"], dimensions: Mapping[str, str]
) -> dict[str, Any]:
    """Give the members of a log line that make metrics of some values.

    Parameters
    ----------
    values
        By the metrics' names.
    unit
        Of all of them.
    dimensions
        What they are told apart by, beside their names. Nothing of a customer.
    """
    directive = {
        "Namespace": _NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": unit} for name in values],
    }
    aws = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    return {"_aws": aws, **dimensions, **values}


def count(values: Mapping[str, int]) -> dict[str, Any]:
    """Give the members of a log line that count things."""
    return metrics(values, "Count", {})
