"""Log lines, and the metrics that some of them carry.

A metric is a member of a line that is logged anyway, in CloudWatch's embedded metric format, so it costs no call.
CloudWatch bills each combination of a metric's dimensions, so a dimension must have few values.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from aws_lambda_powertools import Logger

if TYPE_CHECKING:
    from collections.abc import Mapping

# Lambda only reads a line's level if its timestamp has this format.
logger: Final = Logger(use_rfc3339=True)

_NAMESPACE: Final = os.environ.get("METRICS_NAMESPACE", "customers")


def metrics(
    values: Mapping[str, float], unit: Literal["Count", "Milliseconds"], dimensions: Mapping[str, str]
) -> dict[str, Any]:
    """Return the members of a log line that report values as metrics.

    Parameters
    ----------
    values
        The values by the metrics' names.
    unit
        The unit of all values.
    dimensions
        What tells metrics of the same name apart. No personal data.
    """
    directive = {
        "Namespace": _NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": unit} for name in values],
    }
    aws = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    return {"_aws": aws, **dimensions, **values}


def count(values: Mapping[str, int]) -> dict[str, Any]:
    """Return the members of a log line that report counts."""
    return metrics(values, "Count", {})
