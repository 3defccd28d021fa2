"""The check of a history finds each kind of wrong answer, and accepts every right one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tools.benchmarks.reliability.history.check import check
from tools.benchmarks.reliability.history.operations import History, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

type Json = dict[str, Any]

GROUP = 7
ROW: Json = {"first_name": "ann", "last_name": "w0", "email": "row1.w0@example.com", "group_id": GROUP}
CREATED: Json = {
    **ROW,
    "id": 1,
    "external_id": None,
    "age": None,
    "metadata": {},
    "version": 1,
    "created_at": "2026-01-01T00:00:00.000Z",
    "updated_at": "2026-01-01T00:00:00.000Z",
}


def changed(customer: Json, **changes: object) -> Json:
    """Return a customer as it is after one more change."""
    version = customer["version"] + 1
    return {**customer, **changes, "version": version, "updated_at": f"2026-01-01T00:00:00.{version:03}Z"}


class Scene:
    """Records operations one after the other, each one second long unless given other times."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._clock = 0.0

    def add(self, kind: str, status: int | None, answer: Json, at: tuple[float, float] | None, **sent: Any) -> None:
        start, end = at or (self._clock + 1, self._clock + 2)
        self._clock = max(self._clock, end)
        self.operations.append(Operation(kind, start, end, status, answer, **sent))

    def post(
        self, customer: Json | None = CREATED, *, key: str = "", row: Json = ROW, at: tuple[float, float] | None = None
    ) -> None:
        self.add("create", 503 if customer is None else 201, customer or {}, at, rows=(row,), key=key)

    def get(self, customer: Json | None, *, at: tuple[float, float] | None = None) -> None:
        self.add("get", 404 if customer is None else 200, customer or {}, at, customer_id=1)

    def patch(
        self,
        result: Json | int | None,
        *,
        if_match: int | None = None,
        version: int | None = None,
        at: tuple[float, float] | None = None,
        **changes: object,
    ) -> None:
        status = 200 if isinstance(result, dict) else result
        answer = result if isinstance(result, dict) else {}
        sent = {"customer_id": 1, "changes": changes, "if_match": if_match, "version": version}
        self.add("update", status, answer, at, **sent)

    def delete(self, status: int | None, *, if_match: int | None = None, at: tuple[float, float] | None = None) -> None:
        answer = {"id": 1, "deleted": True} if status == 200 else {}
        self.add("delete", status, answer, at, customer_id=1, if_match=if_match)

    def names(self, *table: Json, indexes: dict[tuple[int, str], list[Json]] | None = None) -> list[str]:
        """Return what is wrong, with these customers in the table at the end."""
        return [anomaly.what for anomaly in check(History(self.operations, list(table), indexes or {}))]


TWO = changed(CREATED, last_name="w1")
THREE = changed(TWO, last_name="w2")


def test_a_history_without_faults_has_no_anomaly() -> None:
    scene = Scene()
    scene.post()
    scene.patch(TWO, last_name="w1", if_match=1)
    scene.patch(412, last_name="w9", if_match=1, version=2)
    scene.get(TWO)
    scene.patch(THREE, last_name="w2")
    scene.delete(412, if_match=2)
    scene.operations[-1] = Operation("delete", 20, 21, 412, {}, 1, if_match=2, version=3)
    scene.add("list", 200, {"customers": [THREE]}, (30, 31))
    scene.delete(200, if_match=3)
    scene.get(None)
    scene.patch(404, last_name="w9")
    scene.delete(404)
    assert scene.names() == []


def test_a_write_of_unknown_outcome_may_have_been_applied_or_not() -> None:
    for outcome in (503, 500, 504, None):
        for after in (CREATED, TWO):
            scene = Scene()
            scene.post()
            scene.patch(outcome, last_name="w1")
            scene.get(after)
            assert scene.names(after) == []


def test_a_write_of_unknown_outcome_may_be_applied_long_after_its_client_gave_up() -> None:
    scene = Scene()
    scene.post()
    scene.patch(None, last_name="w1")
    scene.get(CREATED)
    scene.get(TWO)
    scene.delete(None)
    scene.get(TWO)
    scene.get(None)
    assert scene.names() == []


def test_a_write_of_unknown_outcome_is_not_applied_at_another_version() -> None:
    scene = Scene()
    scene.post()
    scene.patch(TWO, last_name="w1")
    scene.patch(503, last_name="w2", if_match=1)
    scene.get(THREE)
    assert scene.names(THREE) != []


def test_a_read_beside_a_write_may_see_either_state() -> None:
    for seen in (CREATED, TWO):
        scene = Scene()
        scene.post()
        scene.patch(TWO, last_name="w1", at=(10, 20))
        scene.get(seen, at=(11, 19))
        assert scene.names(TWO) == []


def test_a_stale_read_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch(TWO, last_name="w1")
    scene.get(CREATED)
    assert scene.names(TWO) == ["stale read"]


def test_a_read_older_than_what_another_read_has_shown_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch(TWO, last_name="w1", at=(10, 20))
    scene.get(TWO, at=(11, 12))
    scene.get(CREATED, at=(13, 14))
    assert scene.names(TWO) == ["stale read"]


def test_a_group_may_show_an_older_state_but_none_that_never_was() -> None:
    for shown, expected in ((CREATED, []), ({**CREATED, "age": 3}, ["stale read"])):
        scene = Scene()
        scene.post()
        scene.patch(TWO, last_name="w1")
        scene.add("list", 200, {"customers": [shown]}, None)
        assert scene.names(TWO) == expected


def test_a_lost_change_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch(TWO, last_name="w1")
    scene.patch(changed(CREATED, age=4), age=4)
    assert scene.names(changed(CREATED, age=4)) == ["acknowledged change lost"]


def test_a_change_that_reverts_another_field_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch(TWO, last_name="w1")
    reverted = {**changed(TWO, age=4), "last_name": CREATED["last_name"]}
    scene.patch(reverted, age=4)
    assert len(scene.names(reverted)) == 1


def test_a_gap_in_the_versions_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch({**TWO, "version": 3}, last_name="w1")
    assert len(scene.names({**TWO, "version": 3})) == 1


def test_two_writes_at_the_same_version_are_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch(TWO, last_name="w1", if_match=1, at=(10, 20))
    scene.patch(changed(CREATED, last_name="w2"), last_name="w2", if_match=1, at=(10, 20))
    assert scene.names(TWO) == ["acknowledged change lost"]


def test_a_412_for_a_change_that_was_applied_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch(412, last_name="w1", if_match=1, version=2)
    scene.patch(changed(TWO, age=5), age=5)
    assert scene.names(changed(TWO, age=5)) == ["412 though applied"]


def test_a_412_that_names_the_version_asked_for_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch(412, last_name="w1", if_match=1, version=1)
    assert len(scene.names(CREATED)) == 1


def test_a_412_to_a_request_without_a_version_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch(412, last_name="w1", version=1)
    assert "answer not allowed" in scene.names(CREATED)


def test_a_404_for_a_customer_that_exists_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.get(None)
    assert scene.names(CREATED) == ["said to be missing or at another version"]


def test_a_change_applied_a_second_time_over_another_is_found() -> None:
    scene = Scene()
    scene.post()
    other = changed(TWO, last_name="w2")
    again = changed(other, last_name="w1")
    scene.patch(again, last_name="w1", at=(10, 20))
    scene.patch(other, last_name="w2", at=(11, 12))
    assert scene.names(again) == ["applied twice"]


def test_a_change_of_unknown_outcome_applied_a_second_time_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.patch(503, last_name="w1")
    scene.get(TWO)
    other = changed(TWO, last_name="w2")
    scene.patch(other, last_name="w2")
    assert scene.names(changed(other, last_name="w1")) == ["applied twice"]


def test_a_second_acknowledged_delete_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.delete(200, at=(10, 20))
    scene.delete(200, at=(10, 20))
    assert scene.names() == ["two deletes acknowledged"]


def test_a_deleted_customer_that_comes_back_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.delete(200)
    scene.get(None)
    scene.get(CREATED)
    assert scene.names(CREATED) == ["deleted customer came back"]


def test_a_customer_created_anew_by_a_request_that_is_repeated_after_its_deletion_is_found() -> None:
    for outcome in (200, 503):
        scene = Scene()
        scene.post(None, key="k")
        scene.get(CREATED)
        scene.delete(outcome)
        scene.get(None)
        anew = {**CREATED, "created_at": "2026-01-01T00:00:00.009Z", "updated_at": "2026-01-01T00:00:00.009Z"}
        scene.add("list", 200, {"customers": [anew]}, (20, 21))
        scene.post(anew, key="k", at=(19, 22))
        assert scene.names(anew) == ["deleted customer came back"]


def test_a_change_of_a_deleted_customer_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.delete(200)
    scene.patch(TWO, last_name="w1")
    assert scene.names() == ["deleted customer came back"]


def test_a_deleted_customer_left_in_the_table_is_found() -> None:
    scene = Scene()
    scene.post()
    scene.delete(200)
    assert scene.names(CREATED) == ["deleted customer came back"]


def test_a_created_customer_missing_at_the_end_is_found() -> None:
    scene = Scene()
    scene.post()
    assert len(scene.names()) == 1


def test_a_repeated_key_gets_the_first_answer_or_the_customer_as_it_is_now() -> None:
    for shown in (CREATED, TWO):
        scene = Scene()
        scene.post(None, key="k")
        scene.add("list", 200, {"customers": [CREATED]}, None)
        scene.patch(TWO, last_name="w1")
        scene.post(shown, key="k")
        assert scene.names(TWO) == []


def test_two_customers_for_one_key_are_found() -> None:
    scene = Scene()
    second = {**CREATED, "id": 2}
    scene.post(key="k")
    scene.post(second, key="k")
    assert "created more than once" in scene.names(CREATED, second)


def test_two_customers_for_one_request_are_found_though_only_one_was_acknowledged() -> None:
    scene = Scene()
    scene.post()
    assert "created more than once" in scene.names(CREATED, {**CREATED, "id": 2})


def test_a_create_of_unknown_outcome_may_have_created_one_customer_or_none() -> None:
    tables: Iterable[list[Json]] = ([], [CREATED])
    for table in tables:
        scene = Scene()
        scene.post(None)
        assert scene.names(*table) == []


def test_a_customer_that_nobody_created_is_found() -> None:
    assert Scene().names(CREATED) == ["customer that nobody created"]


def test_a_list_created_in_part_is_found() -> None:
    scene = Scene()
    scene.add("create", 503, {}, None, rows=(ROW, {**ROW, "email": "row2.w0@example.com"}))
    assert scene.names(CREATED) == ["list created in part"]


def test_a_status_that_the_contract_does_not_know_is_found() -> None:
    for kind in ("create", "get", "list", "update", "delete"):
        scene = Scene()
        scene.add(kind, 400, {}, None, rows=(ROW,) if kind == "create" else (), changes={"age": 1})
        assert scene.names() == ["answer not allowed"]


def test_an_index_that_differs_from_the_table_is_found() -> None:
    second = {**CREATED, "id": 2, "email": "row2.w0@example.com"}
    row = {**ROW, "email": "row2.w0@example.com"}
    right = [CREATED, second]
    wrong: list[list[Json]] = [
        [],
        [CREATED],
        [second, CREATED],
        [CREATED, CREATED, second],
        [CREATED, {**second, "age": 1}],
    ]
    for found in (right, *wrong):
        scene = Scene()
        scene.post()
        scene.post(second, row=row)
        expected = [] if found is right else ["index differs from the table"]
        assert [
            name for name in scene.names(*right, indexes={(GROUP, "last_name"): found}) if "index" in name
        ] == expected
