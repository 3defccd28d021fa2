"""Rules for what is stored: it is forgotten when it should be, and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from customers.imports.bucket import _FOLDER
from customers.imports.store import _KEPT
from tests.unit.template.reading import DAY, OPERATIONS, resources, target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.template.reading import Rule, Template

_LATE: Final = 2
"""Days within which DynamoDB deletes what has expired.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
"""
_ERASED: Final = 35
"""Days after which nothing is left of a customer who was deleted (docs/operations.md)."""
_EXPIRING: Final = {"AnswersTable": "expiration"} | dict.fromkeys(
    ("CustomersTable", "HistoryTable", "ImportsTable"), "expires_at"
)
"""What holds the second at which an item expires. `test_exactly_once.py`, `test_history.py` and `test_imports.py` see
the items."""


def what_expires_is_deleted(template: Template) -> Iterator[str]:
    """An answer holds customers who may have been deleted since then. Chunks of imports are useless after a month."""
    for name, properties in resources(template, "AWS::DynamoDB::Table").items():
        declared = properties.get("TimeToLiveSpecification", {})
        attribute = declared.get("AttributeName") if declared.get("Enabled") is True else None
        if attribute != _EXPIRING.get(name):
            yield f"{name}: items expire by {attribute}"


def _rules(template: Template) -> dict[str, Any]:
    """Return the bucket's enabled rules, by the folder that they apply to."""
    (bucket,) = resources(template, "AWS::S3::Bucket").values()
    rules = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
    return {rule.get("Prefix", ""): rule for rule in rules if rule.get("Status") == "Enabled"}


def _days(template: Template, folder: str) -> tuple[int, int]:
    """Return the least and the default number of days for which a folder's files are kept; 0 means for ever."""
    value = _rules(template).get(folder, {}).get("ExpirationInDays", 0)
    if isinstance(value, int):
        return value, value
    parameter = template["Parameters"].get(value["Ref"], {})
    return parameter.get("MinValue", 0), parameter.get("Default", 0)


def whatever_holds_rows_of_an_import_is_erased_in_time(template: Template) -> Iterator[str]:
    """The erasure table promises after how many days nothing is left, with the defaults."""
    for folder in (_FOLDER, "reports/", "parts/"):
        if not 0 < _days(template, folder)[1] <= _ERASED:
            yield f"{folder} is erased after {_days(template, folder)[1]} days"
    if template["Parameters"]["BackupDays"]["MaxValue"] != _ERASED:
        yield "backups are kept for longer than is promised"
    files, reports, parts = (_days(template, folder)[1] for folder in (_FOLDER, "reports/", "parts/"))
    if f"| `ImportFileDays` ({files})" not in OPERATIONS:
        yield f"the erasure table does not say {files} days of files"
    if f"| `ReportDays` ({reports}), {parts} days |" not in OPERATIONS:
        yield f"the erasure table does not say {reports} days of reports, and {parts} of their parts"


def a_file_and_its_report_outlive_the_messages_about_them(template: Template) -> Iterator[str]:
    """A file may wait in its queue, and a chunk as a dead letter, for as long as a queue keeps messages. It must be
    possible to have them erased by the day after that."""
    longest = max(queue["MessageRetentionPeriod"] for queue in resources(template, "AWS::SQS::Queue").values())
    for folder in (_FOLDER, "reports/"):
        if not longest < _days(template, folder)[0] * DAY <= longest + DAY:
            yield f"{folder} may be erased after {_days(template, folder)[0]} days"


def rejected_rows_are_kept_as_long_as_their_import_may_be_reported_again(template: Template) -> Iterator[str]:
    """The table of imports says where they are until it has forgotten the chunk. After that, no report needs them."""
    if _days(template, "parts/")[0] < _KEPT.days + _LATE:
        yield f"parts/ is erased after {_days(template, 'parts/')[0]} days"


def an_upload_that_was_not_completed_is_removed(template: Template) -> Iterator[str]:
    """Its parts hold rows and are in no listing. No function uploads for a whole day, and S3 takes no shorter time."""
    days = _rules(template).get("", {}).get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
    if days != 1:
        yield f"uploads are removed after {days} days"


def a_file_has_the_same_tag_each_time_it_is_put(template: Template) -> Iterator[str]:
    """An import is identified by its file's ETag, which is the MD5 of the content only without a KMS key.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    for name, properties in resources(template, "AWS::S3::Bucket").items():
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        if rule["ServerSideEncryptionByDefault"] != {"SSEAlgorithm": "AES256"}:
            yield f"{name}: encrypted by {rule}"


def only_what_is_put_into_the_imports_folder_is_imported(template: Template) -> Iterator[str]:
    """Reports and their parts are written to the same bucket, and each would be taken for a file to import."""
    for name, properties in resources(template, "AWS::S3::Bucket").items():
        (told,) = properties["NotificationConfiguration"]["QueueConfigurations"]
        if told["Filter"]["S3Key"]["Rules"] != [{"Name": "prefix", "Value": _FOLDER}]:
            yield f"{name}: tells of {told['Filter']}"
        if told.get("Event") != "s3:ObjectCreated:*":
            yield f"{name}: does not tell of every way to put a file"
        # S3 tests it when the bucket is made: https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html
        queue, bucket = target(told.get("Queue")), template["Resources"][name]
        policy = resources(template, "AWS::SQS::QueuePolicy").get(str(bucket.get("DependsOn")), {})
        if policy.get("Queues") != [{"Ref": queue}]:
            yield f"{name}: made before it may send messages to {queue}"


def the_data_key_is_rotated(template: Template) -> Iterator[str]:
    """A deployment with its own key gets a new one each year.

    https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
    """
    for name, properties in resources(template, "AWS::KMS::Key").items():
        if properties.get("EnableKeyRotation") is not True:
            yield f"{name} is never rotated"


RULES: Final[tuple[Rule, ...]] = (
    what_expires_is_deleted,
    whatever_holds_rows_of_an_import_is_erased_in_time,
    a_file_and_its_report_outlive_the_messages_about_them,
    rejected_rows_are_kept_as_long_as_their_import_may_be_reported_again,
    an_upload_that_was_not_completed_is_removed,
    a_file_has_the_same_tag_each_time_it_is_put,
    only_what_is_put_into_the_imports_folder_is_imported,
    the_data_key_is_rotated,
)
