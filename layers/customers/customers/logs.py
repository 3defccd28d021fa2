"""Log lines, and the metrics that some of them carry.

A metric is a member of a line that is logged anyway, in CloudWatch's embedded metric format, so it costs no call.
CloudWatch bills each metric by the hour, so there is none that the dashboard does not show.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools import Logger

if TYPE_CHECKING:
    from collections.abc import Mapping

# Lambda only reads a line's level if its timestamp has this format.
logger: Final = Logger(use_rfc3339=True)

_NAMESPACE: Final = os.environ.get("METRICS_NAMESPACE", "customers")


def count(values: Mapping[str, int]) -> dict[str, Any]:
    """Return the members of a log line that report counts as metrics.

    Parameters
    ----------
    values
        The counts by the metrics' names.
    """
    directive = {
        "Namespace": _NAMESPACE,
        "Dimensions": [[]],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in values],
    }
    return {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}, **values}
