"""The line of a request says what happened, without anybody's name."""

from __future__ import annotations

import io

import pytest

from local.gateway.request_log import Call, RequestLog, shown_path

WORDS = {"", "api", "customers", "group"}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/api/customers/", "/api/customers/"),
        ("/api/customers/group/12/", "/api/customers/group/12/"),
        ("/api/customers/john.doe@example.com", "/api/customers/…"),
        ("/api/john", "/api/…"),
        ("/api/customers/cust_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG_000000", "/api/customers/…"),
        ("/api/customers/4111111111111111111111", "/api/customers/…"),
        ("/api/customers/\x1b[31m", "/api/customers/…"),
        ("/API/customers", "/…/customers"),
    ],
)
def test_of_a_path_only_numbers_and_the_services_own_words_are_shown(path: str, shown: str) -> None:
    assert shown_path(path, WORDS) == shown


def test_lines_are_aligned() -> None:
    output = io.StringIO()
    log = RequestLog(output, width=len("CreateCustomers"))
    log.write("GET", "200", 0.0123, Call("/api", "GetCustomer", "warm"))
    log.write("OPTIONS", "404", 12.5, Call("/api?…"))
    log.write("\x1b[31m", "400", 0, Call("/api", "CreateCustomers", "cold"))
    lines = output.getvalue().splitlines()
    assert lines[0] == "GET     200     12 ms  GetCustomer      warm  /api"
    assert lines[1] == "OPTIONS 404  12500 ms  gateway                /api?…"
    assert lines[2] == "…       400      0 ms  CreateCustomers  cold  /api"


def test_an_output_that_is_gone_disturbs_no_request() -> None:
    output = io.StringIO()
    log = RequestLog(output, width=1)
    output.close()
    log.write("GET", "200", 0, Call())
