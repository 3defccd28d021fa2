"""The usual alternative: FastAPI under Mangum."""

import os
from typing import Annotated

import boto3
from fastapi import FastAPI, HTTPException, Path
from mangum import Mangum
from pydantic import BaseModel, EmailStr

app = FastAPI()
client = boto3.client("dynamodb")


class Customer(BaseModel):
    """The answer."""

    id: int
    first_name: str
    last_name: str
    email: EmailStr
    group_id: int
    age: int | None = None


@app.get("/api/customers/{customer_id}")
def get_customer(customer_id: Annotated[int, Path(ge=1)]) -> Customer:
    """Answer with a customer."""
    answer = client.get_item(
        TableName=os.environ["CUSTOMERS_TABLE"], Key={"id": {"N": str(customer_id)}}, ConsistentRead=True
    )
    if "Item" not in answer:
        raise HTTPException(404)
    stored = {"id": answer["Item"]["id"], **answer["Item"]["customer"]["M"]}
    return Customer(**{name: next(iter(value.values())) for name, value in stored.items()})


lambda_handler = Mangum(app, lifespan="off")
