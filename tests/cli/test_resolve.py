"""Decisions of people about rows in conflict, from the command line to the row, with nothing played.

A real API server with the chart's rights and its ValidatingAdmissionPolicy, an operator, a sidecar
and a MariaDB. Each person is a ServiceAccount of their own.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
import yaml

from dev.errors import ToolError
from dev.waiting import wait_for
from globaltx.manifest.resources import transaction_to_resource
from globaltx.manifest.settings import SidecarSettings
from globaltx.transaction.model import GlobalTransaction
from globaltx.transaction.xid import Xid
from tests.conftest import GLOBALTX_PASSWORD
from tests.operator.test_rights import kubeconfig
from tests.ports import LOOPBACK, free_port
from tests.sidecar.programs import BIN, Account, Program, SidecarProgram, datasource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster import Cluster
    from dev.databases import MariaDB
    from globaltx.manifest.settings import DatasourceSettings

Json = dict[str, Any]

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(300)]

CHART = Path(__file__).parents[2] / "charts" / "globaltx"
RESOLVE_RULES = [{"apiGroups": ["globaltx.io"], "resources": ["branches"], "verbs": ["get", "list", "patch"]}]
READ_RULES = [{"apiGroups": ["globaltx.io"], "resources": ["branches"], "verbs": ["get", "list"]}]
TABLES = """
CREATE TABLE account (id INT PRIMARY KEY, balance INT, iban VARCHAR(40));
INSERT INTO account VALUES (1, 100, 'DE-SECRET'), (2, 100, 'DE-SECRET'), (3, 100, 'DE-SECRET');
"""


@dataclass
class Scene:
    """One namespace with everything in it."""

    cluster: Cluster
    database: MariaDB
    schema: str
    namespace: str
    source: DatasourceSettings
    sidecar: SidecarProgram
    folder: Path

    def sql(self, text: str) -> str:
        return self.database.execute(text, schema=self.schema).strip()

    def balances(self) -> str:
        return self.sql("SELECT GROUP_CONCAT(balance ORDER BY id) FROM account")

    def conflict(self) -> Xid:
        """A transaction in Conflict: all balances were 100, are made 90, and 42 and 43 by somebody else."""
        self.sql("UPDATE account SET balance = 100, iban = 'DE-SECRET'")
        xid = Xid(self.namespace, f"x{secrets.token_hex(6)}")
        begun = transaction_to_resource(GlobalTransaction(xid, "bank", timedelta(seconds=600)))
        self.cluster.kubectl("create", "-f", "-", stdin=yaml.safe_dump(begun))
        connection = pymysql.connect(
            host=LOOPBACK,
            port=self.source.listen_port,
            user="globaltx",
            password=GLOBALTX_PASSWORD,
            database=self.schema,
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(f"UPDATE /*+ XID('{xid}') */ account SET balance = 90, iban = 'DE-NEW'")
        self.sql("UPDATE account SET balance = 40 + id, iban = 'DE-OTHER' WHERE id IN (2, 3)")
        outcome = {"spec": {"outcome": "Rollback", "outcomeReason": "DecidedByPerson"}}
        self.patch("globaltransaction", xid.name, outcome)
        wait_for("the conflict", lambda: self.state(xid) == "Conflict", seconds=60)
        assert self.balances() == "100,42,43"
        return xid

    def patch(self, kind: str, name: str, patch: Json) -> None:
        self.cluster.kubectl(
            "patch", kind, name, "-n", self.namespace, "--type=merge", "-p", json.dumps(patch)
        )

    def get(self, kind: str, *words: str) -> Json:
        found: Json = json.loads(
            self.cluster.kubectl("get", kind, *words, "-n", self.namespace, "-o", "json")
        )
        return found

    def transaction(self, xid: Xid) -> Json:
        return self.get("globaltransaction", xid.name)

    def state(self, xid: Xid) -> str:
        return str(self.transaction(xid)["status"]["state"])

    def branch(self, xid: Xid) -> Json:
        [found] = self.get("branches", "-l", f"globaltx.io/transaction={xid.name}")["items"]
        return dict(found)

    def globaltx(self, person: str, *words: str) -> tuple[int, str]:
        """Run a command as somebody; exit code and what was said."""
        done = subprocess.run(
            [str(BIN / "globaltx"), *words, "-n", self.namespace],
            env={**os.environ, "KUBECONFIG": str(self.folder / person)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    def resolve(self, person: str, xid: Xid, *words: str) -> tuple[int, str]:
        return self.globaltx(person, "resolve", str(xid), *words, "--why", "the bank called", "--wait", "60")

    def user(self, person: str) -> str:
        return f"system:serviceaccount:{self.namespace}:{person}"

    def ended(self, xid: Xid) -> Json:
        wait_for("the end", lambda: self.state(xid) == "RolledBack", seconds=60)
        assert self.sql("SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> ''") == "0"
        return self.transaction(xid)


@pytest.fixture(scope="module")
def scene(
    control_plane: Cluster, mariadb: MariaDB, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    namespace, folder = f"resolve-{secrets.token_hex(3)}", tmp_path_factory.mktemp("resolve")
    schema = namespace.replace("-", "_")
    control_plane.kubectl("create", "namespace", namespace)
    mariadb.execute(f"CREATE DATABASE {schema}")
    mariadb.execute(TABLES, schema=schema)
    source = datasource("accounts", schema, mariadb.port)
    source = replace(source, datasource=replace(source.datasource, sensitive_columns=("*.iban",)))
    settings = SidecarSettings(
        namespace=namespace, app="bank", datasources=(source,), control_port=free_port()
    )
    account = Account("globaltx", GLOBALTX_PASSWORD)
    sidecar = SidecarProgram(settings, folder, control_plane.kubeconfig, account)
    made = Scene(control_plane, mariadb, schema, namespace, source, sidecar, folder)
    _people(made)
    with ExitStack() as stack:
        stack.enter_context(_operator(made))
        sidecar.start()
        stack.callback(sidecar.kill)
        part = "undo table of accounts"
        wait_for(part, lambda: sidecar.parts().get(part, {}).get("up", False), seconds=30)
        stack.callback(_vouching(made))
        yield made


def _operator(scene: Scene) -> Program:
    port = free_port()
    served = ("--namespace", scene.namespace, "--namespaces", scene.namespace)
    return Program(
        name="operator",
        command=[str(BIN / "globaltx-operator"), *served, "--host", LOOPBACK, "--port", str(port)],
        ready=f"http://{LOOPBACK}:{port}/readyz",
        log=scene.folder / "operator.log",
        environment={"KUBECONFIG": str(scene.cluster.kubeconfig), "POD_NAME": "operator"},
    )


def _chart(scene: Scene) -> list[Json]:
    text = scene.cluster.helm("template", "globaltx", str(CHART), "--namespace", scene.namespace)
    return [each for each in yaml.safe_load_all(text) if each]


def _people(scene: Scene) -> None:
    """Kim and Sam may resolve, by the chart's role; Eve may patch branches, Pat only read them."""
    [role] = [each for each in _chart(scene) if each["metadata"]["name"] == "globaltx-resolve"]
    rules = {"kim": role["rules"], "sam": role["rules"], "eve": RESOLVE_RULES, "pat": READ_RULES}
    (scene.folder / "admin").write_text(scene.cluster.kubeconfig.read_text())
    for person, granted in rules.items():
        kubectl, at = scene.cluster.kubectl, ("-n", scene.namespace)
        meta = {"name": person, "namespace": scene.namespace}
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": person, "namespace": scene.namespace}
        objects: list[Json] = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
            {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": granted},
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": person},
                "subjects": [subject],
            },
        ]
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
        token = kubectl("create", "token", person, *at).strip()
        (scene.folder / person).write_text(kubeconfig(scene.cluster, token))


def _vouching(scene: Scene) -> Any:
    """Install the chart's policy for this namespace alone; return what takes it away."""
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    policy, binding = (each for kind in kinds for each in _chart(scene) if each["kind"] == kind)
    name = policy["metadata"]["name"] = binding["metadata"]["name"] = f"{scene.namespace}-resolutions"
    binding["spec"]["policyName"] = name
    here = {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}}
    binding["spec"]["matchResources"] = {"namespaceSelector": here}
    scene.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([policy, binding]))
    branch = {"transaction": "probe", "app": "probe", "resource": "probe"}
    probe = {"apiVersion": "globaltx.io/v1alpha1", "kind": "Branch", "metadata": {"name": "probe"}}
    kubectl = scene.cluster.kubectl
    kubectl("create", "-n", scene.namespace, "-f", "-", stdin=yaml.safe_dump({**probe, "spec": branch}))
    at = ("branch", "probe", "-n", scene.namespace, "--type=merge", "-p")
    kubectl("patch", *at, '{"status": {"state": "Conflict"}}', "--subresource=status")
    forged = json.dumps({"spec": {"resolutions": [_entry(1, by="somebody")]}})

    def in_force() -> bool:
        try:
            kubectl("patch", *at, forged, "--dry-run=server")
        except ToolError as error:
            return "must be signed by who makes it" in str(error)
        return False

    wait_for("the admission policy", in_force, seconds=60)
    return lambda: scene.cluster.kubectl("delete", ",".join(kinds), name)


def _entry(number: int, *, by: str, action: str = "Keep") -> Json:
    at = "2026-01-01T00:00:00Z"
    return {"number": number, "action": action, "why": "so", "by": by, "at": at}


def test_what_a_person_sees_before_deciding(scene: Scene) -> None:
    xid = scene.conflict()
    branch = scene.branch(xid)
    described = scene.cluster.kubectl("describe", "branch", branch["metadata"]["name"], "-n", scene.namespace)
    words = " ".join(described.split())
    assert "Conflict Rows: 2" in words
    assert "After: 90 Before: 100 Current: 43 Name: balance" in words
    assert "After: (masked) Before: (masked) Current: (masked) Name: iban" in words
    whole = described + json.dumps(scene.transaction(xid)) + scene.sidecar.log.read_text()
    events = scene.cluster.kubectl("get", "events", "-n", scene.namespace, "-o", "yaml")
    assert "DE-" not in whole + events
    code, status = scene.globaltx("admin", "status", str(xid))
    assert code == 0, status
    assert "Conflict in bank/accounts" in status
    lines = [line.split() for line in status.splitlines()]
    assert ["COLUMN", "BEFORE", "AFTER", "NOW"] in lines
    assert ["balance", "100", "90", "42"] in lines
    assert ["iban", "(masked)", "(masked)", "(masked)"] in lines
    assert "DE-" not in status
    assert scene.resolve("kim", xid, "--keep")[0] == 0


def test_keep(scene: Scene) -> None:
    xid = scene.conflict()
    code, said = scene.resolve("kim", xid, "--keep")
    assert code == 0, said
    assert "bank/accounts is RolledBack: ResolvedByPerson" in said
    assert scene.balances() == "100,42,43"
    transaction, branch = scene.ended(xid), scene.branch(xid)
    [condition] = transaction["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "ResolvedByPerson")
    user = scene.user("kim")
    assert f"Keep by {user}: the bank called" in transaction["status"]["message"]
    [entry] = branch["spec"]["resolutions"]
    assert (entry["number"], entry["action"], entry["by"], entry["why"]) == (
        1,
        "Keep",
        user,
        "the bank called",
    )
    assert entry["at"]
    [done] = branch["status"]["resolutions"]
    assert (done["number"], done["rows"]) == (1, 2)
    assert "conflicts" not in branch["status"]
    scene.sql("UPDATE account SET balance = 1")  # the rows are free

    def told() -> bool:
        events = scene.get("events")["items"]
        notes = [
            each["message"] for each in events if each["involvedObject"]["name"] == branch["metadata"]["name"]
        ]
        return f"#1 Keep by {user}: the bank called" in notes

    wait_for("the event", told, seconds=30)
    code, status = scene.globaltx("admin", "status", str(xid))
    assert "RolledBack, ResolvedByPerson: A person has decided" in status
    assert "Decisions about bank/accounts" in status


def test_restore(scene: Scene) -> None:
    xid = scene.conflict()
    code, said = scene.resolve("kim", xid, "--restore", "--branch", "bank/accounts")
    assert code == 0, said
    assert scene.balances() == "100,100,100"
    assert scene.sql("SELECT DISTINCT iban FROM account") == "DE-SECRET"
    scene.ended(xid)


def test_retry_after_the_rows_were_put_right(scene: Scene) -> None:
    xid = scene.conflict()
    code, said = scene.resolve("kim", xid, "--retry")
    assert code == 1
    assert "rows done: 0; still in Conflict" in said
    scene.sql("UPDATE account SET balance = 100, iban = 'DE-SECRET'")
    code, said = scene.resolve("kim", xid, "--retry")
    assert code == 0, said
    [condition] = scene.ended(xid)["status"]["conditions"]
    assert condition["reason"] == "RolledBack"


def test_row_by_row_and_by_two_people(scene: Scene) -> None:
    xid = scene.conflict()
    code, said = scene.resolve("kim", xid, "--restore", "--table", "account", "--key", "2")
    assert code == 0, said
    assert "rows done: 1; still in Conflict" in said
    assert scene.balances() == "100,100,43"
    assert scene.state(xid) == "Conflict"
    [row] = scene.branch(xid)["status"]["conflicts"]
    code, said = scene.resolve("sam", xid, "--keep", "--row", row["row"])
    assert code == 0, said
    scene.ended(xid)
    assert scene.balances() == "100,100,43"
    made = scene.branch(xid)["spec"]["resolutions"]
    assert [(each["number"], each["by"]) for each in made] == [(1, scene.user("kim")), (2, scene.user("sam"))]


def test_two_at_once_are_both_recorded_and_one_order_holds(scene: Scene) -> None:
    xid = scene.conflict()
    scene.sidecar.kill()
    try:
        with ThreadPoolExecutor(2) as both:
            words = ("resolve", str(xid), "--why", "so", "--wait", "0")
            said = list(
                both.map(
                    lambda who: scene.globaltx(who[0], *words, who[1]),
                    [("kim", "--keep"), ("sam", "--restore")],
                )
            )
        assert [code for code, _ in said] == [0, 0], said
        made = scene.branch(xid)["spec"]["resolutions"]
        assert [each["number"] for each in made] == [1, 2]
        assert {each["by"] for each in made} == {scene.user("kim"), scene.user("sam")}
    finally:
        scene.sidecar.start()
    scene.ended(xid)  # decided while nobody led: the next leader carries it out
    last = made[-1]["action"]
    assert scene.balances() == ("100,42,43" if last == "Keep" else "100,100,100")


@pytest.mark.parametrize(
    ("person", "complaint"),
    [("pat", 'cannot patch resource "branches"'), ("eve", "may not decide about rows in conflict")],
)
def test_without_the_right_the_api_server_refuses(scene: Scene, person: str, complaint: str) -> None:
    xid = scene.conflict()
    code, said = scene.resolve(person, xid, "--restore")
    assert code == 1
    assert "the decision was refused" in said
    assert complaint in said
    assert "resolutions" not in scene.branch(xid)["spec"]
    assert scene.balances() == "100,42,43"
    assert scene.resolve("kim", xid, "--keep")[0] == 0


def test_nobody_signs_for_another_nor_rewrites_what_was_signed(scene: Scene) -> None:
    xid = scene.conflict()
    name = scene.branch(xid)["metadata"]["name"]
    scene.resolve("kim", xid, "--retry")
    [mine] = scene.branch(xid)["spec"]["resolutions"]
    for wrong, complaint in (
        ([mine, _entry(2, by=scene.user("kim"))], "the decision must be signed by who makes it"),
        ([{**mine, "why": "otherwise"}], "a decision is never changed"),
        ([], "a decision is never removed"),
        ([_entry(2, by=mine["by"])], "a decision is never removed"),
    ):
        with pytest.raises(ToolError, match=complaint):
            scene.patch("branch", name, {"spec": {"resolutions": wrong}})
    assert scene.branch(xid)["spec"]["resolutions"] == [mine]
    assert scene.resolve("kim", xid, "--keep")[0] == 0


def test_what_is_not_in_conflict_cannot_be_resolved(scene: Scene) -> None:
    xid = scene.conflict()
    assert scene.resolve("kim", xid, "--keep")[0] == 0
    code, said = scene.resolve("kim", xid, "--restore")
    assert code == 1
    assert "nothing to resolve: bank/accounts is RolledBack" in said
    branch = scene.branch(xid)
    wrong = [*branch["spec"]["resolutions"], _entry(2, by=scene.user("kim"))]
    with pytest.raises(ToolError, match="this branch is RolledBack, not in Conflict"):
        scene.patch("branch", branch["metadata"]["name"], {"spec": {"resolutions": wrong}})
    code, said = scene.globaltx("kim", "resolve", "nothing", "--keep", "--why", "so")
    assert code == 1
    assert "nothing has no branch" in said


def test_a_row_that_is_not_there_is_named(scene: Scene) -> None:
    xid = scene.conflict()
    code, said = scene.resolve("kim", xid, "--keep", "--key", "7")
    assert code == 1
    assert "shows no such row in conflict; it shows: account id=3 (row " in said
    assert scene.resolve("kim", xid, "--keep")[0] == 0
