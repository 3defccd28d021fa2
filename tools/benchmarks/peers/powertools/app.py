"""AWS's usual alternative: Powertools' REST resolver with validation, Logger and Metrics."""

import os
from typing import Annotated

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import BaseModel, EmailStr

logger = Logger()
metrics = Metrics(namespace="customers")
app = APIGatewayRestResolver(enable_validation=True)
client = boto3.client("dynamodb")


class Customer(BaseModel):
    """The answer."""

    id: int
    first_name: str
    last_name: str
    email: EmailStr
    group_id: int
    age: int | None = None


@app.get("/api/customers/<customer_id>")
def get_customer(customer_id: Annotated[int, Path(ge=1)]) -> Customer:
    """Answer with a customer."""
    answer = client.get_item(
        TableName=os.environ["CUSTOMERS_TABLE"], Key={"id": {"N": str(customer_id)}}, ConsistentRead=True
    )
    if "Item" not in answer:
        raise NotFoundError("There is no such customer.")
    stored = {"id": answer["Item"]["id"], **answer["Item"]["customer"]["M"]}
    return Customer(**{name: next(iter(value.values())) for name, value in stored.items()})


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Answer with the resolver."""
    logger.info("request")
    metrics.add_metric(name="requests", unit="Count", value=1)
    return app.resolve(event, context)
