"""Killed while it sends: after the resume the server has every record exactly once, whatever became of the source."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import JOB, Ended, Shop, Target, check_equality, finish, letter_ids, write_contract
from receiving_server import Inbox, Receiver

from etlctl.state import open_ledger, outbox_statements


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@dataclass
class Server(Target):
    """A destination that is read back from the server."""

    inbox: Inbox = field(default_factory=lambda: Inbox(""))

    def read(self, folder: Path) -> Counter[int]:
        return self.inbox.ids()


def refusing(record: dict) -> str | None:
    return f"qty {record['qty']} is not for sale" if int(record["qty"]) % 9 == 1 else None


BATCHES = "mode: batch\nrecords_per_request: 4\nrecords_key: records\n"
KINDS = {
    "record": ("concurrency: 3\n", {}),
    "refusing": ("concurrency: 3\nidempotency: {fields: id}\n", {"refuses": refusing}),
    "batch": (BATCHES, {}),
    "halved": (BATCHES, {"refuses": refusing}),
    "told": (
        BATCHES + "response: {results_path: results, status_path: status, message_path: error}\n",
        {"refuses": refusing, "results": True},
    ),
}


def server(receiver: Receiver, kind: str) -> Server:
    options, inbox_options = KINDS[kind]
    inbox = receiver.inbox(**inbox_options)
    retry = "retry: {max_attempts: 2, backoff_factor: 0}\n"
    return Server(f"http-{kind}", f"type: http\nurl: {inbox.url}/things\n{options}{retry}", "", inbox=inbox)


POINTS = [
    "read.before:1", "read.chunk:2", "apply.batch:3", "letters.before:2", "letters.after:2",
    "outbox.kept:1", "outbox.kept:3", "outbox.sent:1", "outbox.sent:12", "outbox.noted:5", "outbox.noted:2",
    "load.write:1", "load.write:3", "load.before_commit:3", "load.after_commit:3", "checkpoint.after:3",
    "publish.before:1", "publish.during:1", "publish.after:1", "ledger.finish:1", "report.write:1",
]  # fmt: skip


def check_clean(root: Path, inbox: Inbox) -> None:
    """No key ever came with two contents, and the outbox is empty after the run."""
    assert inbox.doubled() == {}
    with open_ledger(state_dir=root / ".etlctl") as ledger, ledger.store.transaction(writing=False) as connection:
        for table in (outbox_statements.OUTBOXES, outbox_statements.REQUESTS):
            assert connection.fetch(f"SELECT count(*) AS n FROM {table}") == [{"n": 0}]


FEW = ["outbox.kept:3", "outbox.sent:3", "outbox.noted:2", "load.before_commit:3", "publish.after:1"]


@pytest.mark.parametrize(("kind", "mode"), [*((kind, "streaming") for kind in KINDS), ("refusing", "full")])
def test_killed_at_every_place(shop: Shop, tmp_path: Path, receiver: Receiver, kind: str, mode: str) -> None:
    reached, points = 0, POINTS if (kind, mode) == ("refusing", "streaming") else FEW
    for number, point in enumerate(points):
        target, root = server(receiver, kind), tmp_path / str(number)
        root.mkdir()
        write_contract(root, target, mode=mode)
        ended = shop.run(root, "run", "contracts/c", "--checkpoint", JOB, fault=f"{point}=kill")
        reached += ended.killed
        try:
            finish(shop, root, ended)
            check_equality(root, target)
            check_clean(root, target.inbox)
        except AssertionError as error:
            raise AssertionError(f"after {point} of {kind} in mode {mode}: {error}") from error
    assert reached == len(points)


def killed_at_random(shop: Shop, root: Path, target: Server, dice: random.Random) -> int:
    write_contract(root, target, mode=dice.choice(["streaming", "full", "hybrid"]))
    killed, ended = 0, Ended(2, "", "there is no checkpoint")
    for attempt in range(40):
        argv = ["resume", "--checkpoint", JOB]
        if ended.code == 2 and "there is no checkpoint" in ended.err:
            argv = ["run", "contracts/c", "--checkpoint", JOB]
        with shop.started(root, *argv) as (process, wait):
            if attempt < 8:
                time.sleep(dice.uniform(0.1, 0.6))
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            ended = wait()
        killed += ended.killed
        if ended.code in {0, 4}:
            break
        assert ended.killed or (ended.code == 2 and "there is no checkpoint" in ended.err), ended.err
    check_equality(root, target)
    check_clean(root, target.inbox)
    return killed


@pytest.mark.parametrize("kind", ["refusing", "halved", "told"])
def test_killed_at_random_instants(shop: Shop, tmp_path: Path, receiver: Receiver, kind: str) -> None:
    dice, killed, number = random.Random(kind), 0, 0
    while number < 1 or (not killed and number < 10):
        root = tmp_path / str(number)
        root.mkdir()
        killed += killed_at_random(shop, root, server(receiver, kind), dice)
        number += 1
    assert killed, "nothing was killed: the instants are too late"


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_killed_with_many_seeds(shop: Shop, tmp_path: Path, receiver: Receiver, kind: str) -> None:
    for seed in range(int(os.environ.get("SOAK_SEEDS", "100"))):
        root = tmp_path / str(seed)
        root.mkdir()
        killed_at_random(shop, root, server(receiver, kind), random.Random(f"{kind} {seed}"))


def test_a_lost_answer_is_asked_for_again_and_nothing_is_doubled(
    shop: Shop, tmp_path: Path, receiver: Receiver
) -> None:
    target = server(receiver, "record")
    target.inbox.cuts = {1, 7, 20}
    write_contract(tmp_path, target, mode="streaming")
    ended = shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB)
    assert ended.code == 4, ended.err
    check_equality(tmp_path, target)
    check_clean(tmp_path, target.inbox)
    assert target.inbox.answered == 3


def test_a_server_that_is_gone_ends_the_run_and_the_resume_sends_only_what_is_left(
    shop: Shop, tmp_path: Path, receiver: Receiver
) -> None:
    target = server(receiver, "record")
    target = Server(target.name, target.load.replace("concurrency: 3", "concurrency: 1"), "", inbox=target.inbox)
    write_contract(tmp_path, target, mode="streaming")
    target.inbox.cuts = {12, 13}  # both attempts at a request
    ended = shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB)
    assert ended.code == 6, (ended.code, ended.err)
    assert "carry on with: etlctl resume --checkpoint job" in ended.err
    arrived = len(target.inbox.arrivals)
    done = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert done.code == 4, done.err
    check_equality(tmp_path, target)
    check_clean(tmp_path, target.inbox)
    first_again = target.inbox.arrivals[arrived]
    assert first_again == target.inbox.arrivals[arrived - 1], "the very bytes and the very key"
    assert len(target.inbox.arrivals) == sum(target.inbox.ids().values()) + 2


# --- the source changes while the run is dead -------------------------------------------------------------------------


def write_table_contract(root: Path, inbox: Inbox, options: str = "", batch: int = 4) -> Path:
    """Make a contract whose source is a workspace's own extractor without any memory of what it has read."""
    (root / "etlctl.yaml").write_text("name: proof\n", encoding="utf-8")
    (root / "extractors").mkdir()
    (root / "extractors" / "numbers_in_file.py").write_text(
        '"""Yields the records of a JSON file."""\n\nimport json\n\n'
        "from etlctl.sdk import Batch, Extractor, ReadContext\n\n\n"
        'class NumbersInFile(Extractor):\n    """Yields the records of a JSON file, after a position."""\n\n'
        "    async def read(self, ctx: ReadContext):\n"
        '        records = json.loads((ctx.base_dir / "in.json").read_text())\n'
        '        done = ctx.position["done"] if ctx.position else 0\n'
        "        for start in range(done, len(records), 4):\n"
        '            yield Batch.of_rows(records[start : start + 4], position={"done": start + 4})\n'
    )
    folder = root / "contracts" / "c"
    folder.mkdir(parents=True)
    (folder / "in.json").write_text(json.dumps([{"id": number, "name": f"name {number}"} for number in range(10)]))
    (folder / "extract.yaml").write_text(
        f"type: numbers_in_file\nprocessing_mode: streaming\nbatch_size: {batch}\ncheckpoint: {{interval: 1}}\n"
    )
    (folder / "load.yaml").write_text(f"type: http\nurl: {inbox.url}/things\nconcurrency: 1\n{options}")
    return folder


@pytest.mark.parametrize("point", ["outbox.kept:2", "outbox.sent:6", "outbox.noted:6", "load.before_commit:2"])
def test_what_was_kept_is_sent_and_not_what_the_source_says_today(
    shop: Shop, tmp_path: Path, receiver: Receiver, point: str
) -> None:
    inbox = receiver.inbox(refuses=lambda record: "no sixes" if record["id"] == 6 else None)
    folder = write_table_contract(tmp_path, inbox)
    assert shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault=f"{point}=kill").killed
    edited = [{"id": number, "name": "edited"} for number in range(10)]
    (folder / "in.json").write_text(json.dumps([*edited[:5], *edited[6:], {"id": 10, "name": "new"}]))
    done = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert done.code == 4, done.err
    names = {one["id"]: one["name"] for one in inbox.applied}
    # Batch 2 (4 to 7) was half sent and is what it was; batch 3 begins at the same place of a source that moved up.
    assert names == {**{n: f"name {n}" for n in (0, 1, 2, 3, 4, 5, 7)}, 9: "edited", 10: "new"}
    assert set(inbox.ids().values()) == {1}
    assert letter_ids(tmp_path) == Counter({6: 1})
    with open_ledger(state_dir=tmp_path / ".etlctl") as ledger:
        (letter,) = ledger.dead_letters(limit=10)
        assert letter.raw == {"id": 6, "name": "name 6"}
        assert "no sixes" in letter.message
        (run,) = ledger.runs(limit=10)
        assert (run.counts.extracted, run.counts.loaded, run.counts.rejected) == (10, 9, 1)
    check_clean(tmp_path, inbox)


def test_a_first_request_that_fails_is_resumed_and_not_run_again(
    shop: Shop, tmp_path: Path, receiver: Receiver
) -> None:
    inbox = receiver.inbox(cuts={1, 2})
    write_table_contract(tmp_path, inbox, "retry: {max_attempts: 2, backoff_factor: 0}\n")
    ended = shop.run(tmp_path, "run", "contracts/c")
    assert ended.code == 6, ended.err
    assert "carry on with: etlctl resume --checkpoint run_" in ended.err
    assert "nothing was loaded" not in ended.err
    command = ended.err.partition("carry on with: etlctl ")[2].split()[:3]
    assert shop.run(tmp_path, *command).code == 0
    assert inbox.ids() == Counter(range(10))


@pytest.mark.parametrize("point", ["outbox.sent:2", "checkpoint.after:1"])
def test_the_first_batch_is_completed_as_well_and_a_new_run_is_refused(
    shop: Shop, tmp_path: Path, receiver: Receiver, point: str
) -> None:
    inbox = receiver.inbox()
    write_table_contract(tmp_path, inbox)
    assert shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault=f"{point}=kill").killed
    refused = shop.run(tmp_path, "run", "contracts/c")
    assert refused.code == 7, (refused.code, refused.err)
    assert "its records are in the destination" in refused.err
    assert "--restart" in refused.err
    done = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert done.code == 0, done.err
    assert inbox.ids() == Counter(range(10))
    check_clean(tmp_path, inbox)


def test_a_second_run_sends_everything_again_unless_the_key_names_the_record(
    shop: Shop, tmp_path: Path, receiver: Receiver
) -> None:
    for options, times in (("", 2), ("idempotency: {fields: id}\n", 1)):
        inbox, root = receiver.inbox(), tmp_path / str(times)
        root.mkdir()
        write_table_contract(root, inbox, options)
        for _ in range(2):
            assert shop.run(root, "run", "contracts/c").code == 0
        assert inbox.ids() == Counter(dict.fromkeys(range(10), times))
        assert len(inbox.arrivals) == 20


def test_restart_forgets_what_was_kept_and_begins_anew(shop: Shop, tmp_path: Path, receiver: Receiver) -> None:
    inbox = receiver.inbox()
    write_table_contract(tmp_path, inbox)
    assert shop.run(tmp_path, "run", "contracts/c", fault="outbox.sent:6=kill").killed
    done = shop.run(tmp_path, "run", "contracts/c", "--restart")
    assert done.code == 0, done.err
    assert set(inbox.ids()) == set(range(10))
    assert sum(inbox.ids().values()) == 16
    check_clean(tmp_path, inbox)


def test_beside_another_destination_neither_loses_nor_doubles(shop: Shop, tmp_path: Path, receiver: Receiver) -> None:
    for number, point in enumerate(["outbox.kept:2", "outbox.sent:6", "load.before_commit:3", "load.before_commit:4"]):
        inbox, root = receiver.inbox(), tmp_path / str(number)
        root.mkdir()
        folder = write_table_contract(root, inbox)
        (folder / "load.yaml").write_text(
            f"load:\n  - {{type: http, url: '{inbox.url}/things', concurrency: 1}}\n"
            "  - {type: sqlite, path: out.db, table: t, create_table: true}\n"
        )
        assert shop.run(root, "run", "contracts/c", "--checkpoint", JOB, fault=f"{point}=kill").killed
        done = shop.run(root, "resume", "--checkpoint", JOB)
        assert done.code == 0, done.err
        assert inbox.ids() == Counter(range(10))
        with sqlite3.connect(folder / "out.db") as database:
            assert Counter(row[0] for row in database.execute("SELECT id FROM t")) == Counter(range(10))
        check_clean(root, inbox)


# --- whole runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["outbox.kept:1", "outbox.sent:4", "load.after_commit:1"])
def test_a_step_that_sees_everything_does_not_make_sent_records_again(
    shop: Shop, tmp_path: Path, receiver: Receiver, point: str
) -> None:
    inbox = receiver.inbox()
    folder = write_table_contract(tmp_path, inbox)
    extract = folder / "extract.yaml"
    extract.write_text(extract.read_text().replace("streaming", "full"))
    (folder / "transform.yaml").write_text(
        'transform:\n  - jsonata: {mode: batch, expression: \'$^(>id).{"id": id, "of": $count($$)}\'}\n'
    )
    assert shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault=f"{point}=kill").killed
    done = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert done.code == 0, done.err
    assert inbox.ids() == Counter(range(10))
    assert {one["of"] for one in inbox.applied} == {10}
    check_clean(tmp_path, inbox)


def test_what_is_secret_or_masked_is_nowhere_on_the_disk_and_still_sent(
    shop: Shop, tmp_path: Path, receiver: Receiver
) -> None:
    inbox = receiver.inbox(refuses=lambda record: f"no {record['who']}" if record["id"] == 2 else None)
    body = 'body: {id: "${id}", who: "${name}", key: "${secret:API}"}\nauth: {type: bearer, token: "${env:TOKEN}"}\n'
    folder = write_table_contract(tmp_path, inbox, body + "retry: {max_attempts: 1}\n")
    (folder / "transform.yaml").write_text("transform:\n  - mask: {name: {method: redact}}\n")
    (folder / "in.json").write_text(
        json.dumps([{"id": number, "name": f"canary-name-{number}"} for number in range(6)])
    )
    secrets = {"ETLCTL_SECRET_API": "canary-secret-1", "TOKEN": "canary-token-1"}
    killed = shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault="outbox.sent:2=kill", **secrets)
    assert killed.killed, killed.err
    assert b'"key":"canary-secret-1"' in inbox.arrivals[0][1]
    assert inbox.headers["Authorization"] == "Bearer canary-token-1"
    left = [file for file in (tmp_path / ".etlctl").rglob("*") if file.is_file()]
    assert any(b"etlctl-secret:" in file.read_bytes() for file in left), "the request was not kept"
    for file in left:
        assert b"canary-" not in file.read_bytes(), file
    done = shop.run(tmp_path, "resume", "--checkpoint", JOB, **secrets)
    assert done.code == 4, done.err
    assert inbox.ids() == Counter({0: 1, 1: 1, 3: 1, 4: 1, 5: 1})
    assert {one["key"] for one in inbox.applied} == {"canary-secret-1"}
    assert letter_ids(tmp_path) == Counter({2: 1})
    for file in (tmp_path / ".etlctl").rglob("*"):
        assert not file.is_file() or b"canary-" not in file.read_bytes(), file
    assert "canary-" not in killed.err + done.err + done.out


def test_nothing_is_sent_by_what_only_looks(shop: Shop, tmp_path: Path, receiver: Receiver) -> None:
    inbox = receiver.inbox()
    write_table_contract(tmp_path, inbox)
    for argv in (["run", "contracts/c", "--dry-run"], ["preview", "contracts/c"], ["validate", "contracts/c"]):
        assert shop.run(tmp_path, *argv).code == 0
    plan = shop.run(tmp_path, "plan", "contracts/c")
    assert "is known to its server only" in plan.out + plan.err
    prove = shop.run(tmp_path, "prove", "contracts/c")
    assert "is known to its server only" in prove.out + prove.err
    assert prove.code != 0
    assert inbox.arrivals == []


def test_an_edited_contract_is_refused_before_anything_more_is_sent(
    shop: Shop, tmp_path: Path, receiver: Receiver
) -> None:
    inbox = receiver.inbox()
    folder = write_table_contract(tmp_path, inbox)
    assert shop.run(tmp_path, "run", "contracts/c", "--checkpoint", JOB, fault="outbox.sent:6=kill").killed
    load = folder / "load.yaml"
    load.write_text(load.read_text() + 'body: {id: "${id}", by: the new contract}\n')
    refused = shop.run(tmp_path, "resume", "--checkpoint", JOB)
    assert refused.code == 7, (refused.code, refused.err)
    assert "the contract was edited since" in refused.err
    assert len(inbox.arrivals) == 6
    done = shop.run(tmp_path, "resume", "--checkpoint", JOB, "--accept-changes")
    assert done.code == 0, done.err
    assert inbox.ids() == Counter(range(10))
    # Batch 2 is completed as it was kept, batch 3 goes by the new contract.
    assert [one["id"] for one in inbox.applied if "by" in one] == [8, 9]
    check_clean(tmp_path, inbox)
