"""A participant whose real database stands behind its sidecar, as processes on loopback."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import pymysql

from dev.waiting import wait_for
from globaltx.client import Client
from globaltx.coordinator.policy import Propagation, Route, Saga, Tcc
from globaltx.manifest.settings import HttpSettings, SidecarSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.bank.between import Between
from tests.sidecar.bank.stage import Stage
from tests.sidecar.guarded.between_by_grpc import STATUSES, GrpcBetween
from tests.sidecar.programs import Account, Program, datasource, get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dev.databases import Server
    from tests.sidecar.programs import SidecarProgram
    from tests.sidecar.site import Site

SECONDS = timedelta(seconds=30)
ROOT = Path(__file__).parents[3]
BALANCE = 1000
MESSAGE = b"thirty"
TABLES = f"""
CREATE TABLE account (
  id INT PRIMARY KEY, balance INT NOT NULL, reserved INT NOT NULL DEFAULT 0, spent INT NOT NULL DEFAULT 0
);
INSERT INTO account (id, balance) VALUES (1, {BALANCE});
"""
SIDECAR_ACCOUNT = Account("keeper", "secret")
ROUTES = (
    Route(
        "reserve",
        path="/reserve/try",
        propagation=Propagation.MANDATORY,
        timeout=SECONDS,
        tcc=Tcc("/reserve/confirm", "/reserve/cancel"),
    ),
    Route(
        "book",
        path="/book/step",
        propagation=Propagation.MANDATORY,
        timeout=SECONDS,
        saga=Saga("/book/compensate"),
    ),
)
PATHS = {"try": "/reserve/try", "step": "/book/step"}
ENDS = {"Committed", "RolledBack"}


def _by_grpc(route: Route) -> Route:
    """The route of the same try or step by gRPC."""
    if route.tcc is not None:
        return replace(
            route,
            path="/account.Account/Try",
            tcc=Tcc("/account.Account/Confirm", "/account.Account/Cancel"),
        )
    return replace(route, path="/account.Account/Step", saga=Saga("/account.Account/Compensate"))


class Books(NamedTuple):
    """What the account holds."""

    balance: int
    reserved: int
    spent: int


class Guarded(Stage):
    """The participant, its sidecar, and what stands between them."""

    _program = "account"
    _routes: tuple[Route, ...] = ROUTES
    _between: Callable[[int, int], Between] = Between
    _joins_by_trace = False

    def __init__(self, site: Site, server: Server, schema: str, *, guards: bool = True) -> None:
        super().__init__(site)
        self.server = server
        self.schema = schema
        _lay_out(server, schema)
        port, between, local = free_port(), free_port(), free_port()
        source = datasource("money", schema, server.port)
        source = replace(source, datasource=replace(source.datasource, guards_calls=guards))
        settings = SidecarSettings(
            namespace=site.namespace,
            app="account",
            http=HttpSettings(
                between, self._routes, free_port(), LOOPBACK, joins_by_trace=self._joins_by_trace
            ),
            datasources=(source,),
            control_port=free_port(),
            local_port=local,
        )
        self.between = self._between(between, port)
        self.sidecar = site.sidecar(settings, SIDECAR_ACCOUNT)
        self.other = site.sidecar(_of_another_pod(settings), SIDECAR_ACCOUNT, pod="account-1")
        """Of a second pod of the app, for those who start it."""
        ready = self._ready_port(port)
        self.service = Program(
            name="account",
            command=[sys.executable, *self._words()],
            ready=f"http://{LOOPBACK}:{ready}/",
            log=site.folder / "account.log",
            environment={
                "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
                "PORT": str(port),
                "READY_PORT": str(ready),
                "DATABASE_PORT": str(source.listen_port),
                "DATABASE_NAME": schema,
                "GUARD": str(int(guards)),
            },
        )
        self.client = Client(f"http://{LOOPBACK}:{local}")
        self.betweens = (self.between,)
        self.programs = (self.operator, self.sidecar, self.service)

    def _ready_port(self, port: int) -> int:
        """Where the participant tells that it is up."""
        return port

    def _words(self) -> list[str]:
        """What Python is started with."""
        return ["-m", f"tests.sidecar.guarded.{self._program}"]

    def wait_for_table(self) -> None:
        """Wait until the sidecar has made its tables."""
        part = "undo table of money"
        wait_for(part, lambda: bool(self.sidecar.parts().get(part, {}).get("up")), seconds=60)

    def ask(
        self, operation: str, xid: str, key: str = "", through: SidecarProgram | None = None, **more: str
    ) -> int:
        """Send a try or a step with ``more`` headers, and give the status; 0 when there was no answer."""
        headers = {"globaltx-xid": xid} | ({"Idempotency-Key": key} if key else {}) | more
        url = (through or self.sidecar).url + PATHS[operation]
        return get(url, method="POST", body=b"{}", headers=headers, seconds=60)[0]

    def ended(self, xid: str) -> str:
        """Wait until a transaction and its branches have ended, and give its outcome."""
        name = xid.partition(".")[2]

        def there() -> str:
            stand = self.site.ledger.stands().get(name)
            return stand.outcome if stand is not None and stand.within(ENDS) else ""

        return wait_for(f"{name} to have ended", there, seconds=120, every=0.1)

    def books(self) -> Books:
        """Look into the database, past the sidecar."""
        told = self.server.execute("SELECT balance, reserved, spent FROM account", schema=self.schema)
        return Books(*map(int, told.split()))

    @contextmanager
    def holding_the_row(self) -> Iterator[None]:
        """Hold the account's row, so that no call gets as far as its commit."""
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM account FOR UPDATE")
            yield

    def wait_for_lock(self) -> None:
        """Wait until a call waits for the account's row."""

        def waits() -> bool:
            with self._connect() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT INFO FROM information_schema.PROCESSLIST WHERE COMMAND = 'Query'")
                return any(str(info).startswith("UPDATE") for (info,) in cursor.fetchall())

        wait_for("a call to wait for the row", waits, seconds=60, every=0.02)

    def _connect(self) -> Any:
        return pymysql.connect(
            host=LOOPBACK, port=self.server.port, user="account", password="secret", database=self.schema
        )


class GuardedByTrace(Guarded):
    """The same with an application that knows nothing of guards, only its stock OpenTelemetry."""

    _program = "account_traced"
    _joins_by_trace = True

    def _words(self) -> list[str]:
        """As the example without code is started."""
        program = Path(__file__).with_name(f"{self._program}.py")
        return [str(ROOT / "examples" / "06-no-code" / "services" / "tracing.py"), str(program)]


class GuardedByGrpc(Guarded):
    """The same, asked by gRPC."""

    _program = "account_by_grpc"
    _routes = tuple(map(_by_grpc, ROUTES))
    _between = GrpcBetween

    def _ready_port(self, port: int) -> int:
        del port  # that of gRPC
        return free_port()

    def ask(
        self, operation: str, xid: str, key: str = "", through: SidecarProgram | None = None, **more: str
    ) -> int:
        """Send a try or a step, and give what its grpc-status is over HTTP."""
        metadata = [("globaltx-xid", xid), *([("idempotency-key", key)] if key else []), *more.items()]
        address = (through or self.sidecar).url.removeprefix("http://")
        with grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
            call = channel.unary_unary(f"/account.Account/{operation.capitalize()}")
            try:
                call(MESSAGE, metadata=metadata, timeout=60)
            except grpc.RpcError as error:
                return STATUSES[error.code().value[0]]
        return 200


def _of_another_pod(settings: SidecarSettings) -> SidecarSettings:
    """The same with other ports of its own; the application is the same."""
    sources = tuple(replace(each, listen_port=free_port()) for each in settings.datasources)
    http = None if settings.http is None else replace(settings.http, listen_port=free_port())
    return replace(settings, http=http, datasources=sources, control_port=free_port(), local_port=free_port())


def _lay_out(server: Server, schema: str) -> None:
    """The participant's own account has no more rights than those of AT."""
    server.execute(
        "CREATE USER IF NOT EXISTS 'account'@'%' IDENTIFIED BY 'secret', 'keeper'@'%' IDENTIFIED BY 'secret';"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.* TO 'account'@'%';"
        f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON {schema}.* TO 'keeper'@'%';"
    )
    server.execute(TABLES, schema=schema)
