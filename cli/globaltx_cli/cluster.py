"""The cluster as the commands see it, by the official client.

Only what needs a cluster imports this module's client: it takes a third of a second.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from globaltx.manifest.resources import BRANCHES, GROUP, LABEL_TRANSACTION, POLICIES, TRANSACTIONS, VERSION
from globaltx_cli.errors import CliError

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx.manifest.resources import Kind

_TIMEOUT = (5, 30)  # seconds to connect, to answer
_PAGE = 500
_FORBIDDEN, _NOT_FOUND, _CONFLICT, _INVALID = 403, 404, 409, 422
_FIELD_MANAGER = "kubectl-globaltx"
_DECISION = "decision"
_PROXY = "proxy to pod"
_ANSWER_BYTES_MAX = 64 * 1024


class ChangedMeanwhileError(CliError):
    """The object is not what it was when it was read: read it again, and decide again."""


class Cluster:
    """Reads what the commands show, and writes what people decide; its errors are `CliError`."""

    def __init__(self, context: str | None, namespace: str | None) -> None:
        try:
            import kubernetes  # noqa: PLC0415  see the head of the module
        except ImportError as error:
            message = "this command needs the Kubernetes client: pip install 'globaltx[cli]'"
            raise CliError(message) from error
        self._module = kubernetes
        client, self.namespace = self._connect(context, namespace)
        self._custom = kubernetes.client.CustomObjectsApi(client)
        self._core = kubernetes.client.CoreV1Api(client)
        self._client = client

    def _connect(self, context: str | None, namespace: str | None) -> tuple[Any, str]:
        config = self._module.config
        try:
            contexts, active = config.list_kube_config_contexts()
            client = config.new_client_from_config(
                context=context, client_configuration=self._configuration()
            )
        except config.ConfigException as error:
            message = f"no cluster: {error} (set KUBECONFIG, or choose with --context)"
            raise CliError(message) from error
        except Exception as error:  # the client lets through whatever its reading of the file raises
            message = f"no cluster: the kubeconfig cannot be used: {_unreadable(error)}"
            raise CliError(message) from error
        chosen = next((each for each in contexts if each["name"] == context), active) if context else active
        return client, namespace or (chosen or {}).get("context", {}).get("namespace") or "default"

    def _configuration(self) -> Any:
        """What hangs is not asked again: it was waited for long enough."""
        from urllib3 import Retry  # noqa: PLC0415  see the head of the module

        configuration = self._module.client.Configuration()
        configuration.retries = Retry(connect=3, read=0)
        return configuration

    def transactions(self, *, everywhere: bool = False) -> list[dict[str, Any]]:
        """List the GlobalTransactions of the namespace, or of all."""
        return self._list(TRANSACTIONS, everywhere=everywhere)

    def transaction(self, name: str) -> dict[str, Any]:
        """Read a GlobalTransaction."""
        found: dict[str, Any] = self._ask(
            f"GlobalTransaction {self.namespace}/{name}",
            self._custom.get_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            TRANSACTIONS.plural,
            name,
        )
        return found

    def branches(self, transaction: str) -> list[dict[str, Any]]:
        """List the Branches of a transaction."""
        return self._list(BRANCHES, label_selector=f"{LABEL_TRANSACTION}={transaction}")

    def user(self) -> str:
        """Ask the API server whom it takes us for."""
        review = self._module.client.V1SelfSubjectReview()
        authentication = self._module.client.AuthenticationV1Api(self._client)
        found = self._ask("your own user name", authentication.create_self_subject_review, review)
        return str(found.status.user_info.username)

    def append_resolution(self, branch: dict[str, Any], entry: dict[str, Any]) -> None:
        """Append an entry to ``spec.resolutions`` of a Branch, if it still is the version that was read.

        Raises:
            ChangedMeanwhileError: it is not.
        """
        metadata = branch["metadata"]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"resolutions": [*(branch["spec"].get("resolutions") or ()), entry]},
        }
        self._ask(
            _DECISION,
            self._custom.patch_namespaced_custom_object,
            *(GROUP, VERSION, metadata["namespace"], BRANCHES.plural, metadata["name"], patch),
            field_manager=_FIELD_MANAGER,
            _content_type="application/merge-patch+json",
        )

    def policies(self) -> list[dict[str, Any]]:
        """List the TransactionPolicies of the namespace."""
        return self._list(POLICIES)

    def secret(self, name: str) -> dict[str, str] | None:
        """Read a Secret's values as text; None if there is none."""
        try:
            data = self._core.read_namespaced_secret(name, self.namespace, _request_timeout=_TIMEOUT).data
        except self._module.client.ApiException as error:
            if error.status == _NOT_FOUND:
                return None
            what = f"Secret {self.namespace}/{name}"
            raise self._error(what, error) from error
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in (data or {}).items()}

    def pods(self) -> list[dict[str, Any]]:
        """List the pods of the namespace as they are on the wire."""
        found: list[dict[str, Any]] = []
        more = ""
        while True:
            page = self._ask(
                f"pods of namespace {self.namespace}",
                self._core.list_namespaced_pod,
                self.namespace,
                limit=_PAGE,
                **({"_continue": more} if more else {}),
            )
            found += self._client.sanitize_for_serialization(page)["items"]
            more = page.metadata._continue or ""  # noqa: SLF001  the client's name for `continue`
            if not more:
                return found

    def ask_pod(self, pod: str, port: int, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """GET from a port of a pod, through the API server; the status and the first of the body.

        ``path`` is a request target, encoded, with its query.

        Raises:
            CliError: the API server refused, or did not reach it.
        """
        asked = self._client.param_serialize(
            method="GET",
            resource_path=f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy{path}",
            header_params={"Accept": "*/*", **headers},
            auth_settings=["BearerToken"],
        )
        what = f"{_PROXY} {self.namespace}/{pod}"
        status, body = self._ask(what, self._answer, *asked)
        if refused := _refusal(body):
            message = f"{what}: {refused}"
            raise CliError(message)
        return status, body

    def _answer(self, *asked: Any, **options: Any) -> tuple[int, str]:
        answer = self._client.call_api(*asked, **options)
        try:
            body = answer.response.read(_ANSWER_BYTES_MAX, decode_content=True)
        finally:
            answer.response.close()
        return answer.status, body.decode(errors="replace")

    def _list(
        self, kind: Kind, *, everywhere: bool = False, label_selector: str = ""
    ) -> list[dict[str, Any]]:
        where = (GROUP, VERSION) if everywhere else (GROUP, VERSION, self.namespace)
        call = (
            self._custom.list_cluster_custom_object
            if everywhere
            else self._custom.list_namespaced_custom_object
        )
        found: list[dict[str, Any]] = []
        options: dict[str, Any] = {"limit": _PAGE}
        if label_selector:
            options["label_selector"] = label_selector
        while True:
            page = self._ask(f"list of {kind.plural}", call, *where, kind.plural, **options)
            found += page["items"]
            if not page["metadata"].get("continue"):
                return found
            options["_continue"] = page["metadata"]["continue"]

    def _ask(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options, _request_timeout=_TIMEOUT)
        except self._module.client.ApiException as error:
            raise self._error(what, error) from error
        except OSError as error:
            raise self._unreachable(what, error) from error
        except Exception as error:
            # The client lets the exceptions of the HTTP library below it through.
            if type(error).__module__.startswith("urllib3"):
                raise self._unreachable(what, error) from error
            raise

    def _unreachable(self, what: str, error: Exception) -> CliError:
        server = self._client.configuration.host
        if what.startswith(_PROXY):
            return CliError(f"no whole answer from the {what} of the API server {server}: {error}")
        return CliError(f"the API server {server} does not answer: {error}")

    def _error(self, what: str, error: Any) -> CliError:
        if error.status == _CONFLICT:
            return ChangedMeanwhileError(f"the {what} came too late: the object was changed meanwhile")
        if what == _DECISION and error.status in {_FORBIDDEN, _INVALID}:
            return CliError(f"the decision was refused: {_message(error)}")
        if error.status == _NOT_FOUND and what.startswith("list of"):
            return CliError(
                "the cluster does not know globaltx's resources: helm install charts/globaltx first"
            )
        if error.status == _NOT_FOUND:
            return CliError(f"there is no {what}; it never was, or it ended and was removed after its TTL")
        if error.status == _FORBIDDEN:
            return CliError(f"you may not read the {what}: {_message(error)}")
        return CliError(f"{what}: the API server answered {error.status}: {_message(error)}")


def _unreadable(error: Exception) -> str:
    """Why a kubeconfig cannot be read; a parser's own message would quote the file, and so credentials."""
    return (
        str(error)
        if isinstance(error, OSError)
        else f"it is not what kubectl writes ({type(error).__name__})"
    )


def _refusal(body: str) -> str:
    """What the API server itself says in the place of a pod; empty if it is the pod's own answer."""
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    own = isinstance(told, dict) and (told.get("kind"), told.get("apiVersion")) == ("Status", "v1")
    return str(told.get("message") or told.get("reason")) if own else ""


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
