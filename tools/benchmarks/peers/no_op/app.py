"""Nothing: what Lambda's runtime client costs by itself."""


def lambda_handler(_event: object, _context: object) -> dict[str, object]:
    """Answer without doing anything."""
    return {"statusCode": 204, "body": ""}
