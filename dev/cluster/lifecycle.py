"""Bringing a cluster up and down: what is to start, in which order, and what a crash has left behind."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from dev.cluster import cgroups, configs, files, health, network, node, pause, processes, requirements
from dev.cluster.binaries import binaries
from dev.cluster.commands import command
from dev.cluster.ports import choose_ports, is_free
from dev.cluster.state import PORTS, Component, Mode, Settings, clusters, load
from dev.errors import ToolError
from dev.folders import locked, state_root
from dev.progress import say, step
from dev.shell import run, tail
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_READY_SECONDS = 120
_CLOSED_SECONDS = 3
_RIGHTS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:coredns"
_DEFAULT_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


def up(name: str, mode: Mode | None, without: tuple[Component, ...], *, durable: bool) -> Settings:
    """Bring the cluster up under its lock and give its settings."""
    held = load(name)
    mode = mode or (held.mode if held else Mode.FULL)
    if held and held.covers(mode, without):
        if _all_ready(held):
            return held
        mode, without = held.mode, held.without
    if mode is Mode.FULL:
        requirements.check_full(name)
    programs = binaries()
    if held and not held.covers(mode, without):
        say(f"the cluster {name!r} runs with other programs: it is restarted, its objects stay")
        _stop(held)
    with step(f"cluster {name!r} ({mode}) is up"):
        settings = _settle(name, mode, without, held, durable=durable)
        _start_all(settings, programs)
    return settings


def down(name: str) -> None:
    """End all programs and undo what they did to the machine; works without a readable state file too."""
    # A name is enough to find all of it: the bridge is named after the cluster.
    settings = Settings(name, Mode.FULL, {})
    programs = processes.owned(settings.folder, [str(component) for component in Component])
    # What they hold is thrown away: there is nothing to write out in order.
    processes.kill(programs)
    if files.has_node(settings):
        node.remove(settings)


def start(settings: Settings, component: Component, programs: Path) -> None:
    """Start a program unless it runs, and wait until it is ready."""
    if find(settings, component) is None:
        log = log_file(settings, component)
        log.parent.mkdir(parents=True, exist_ok=True)
        processes.spawn(command(settings, component, programs), log)
    wait_for(
        f"{component} (log: {log_file(settings, component)})",
        lambda: _is_up(settings, component),
        seconds=_READY_SECONDS,
    )


def find(settings: Settings, component: Component) -> processes.Process | None:
    """The running program, or None."""
    return next(iter(found(settings, [component])), None)


def found(settings: Settings, components: Iterable[Component]) -> list[processes.Process]:
    """The running programs among those asked for."""
    return processes.owned(settings.folder, [str(component) for component in components])


def log_file(settings: Settings, component: Component) -> Path:
    """The file that a program's output goes to."""
    return settings.folder / "logs" / f"{component}.log"


def _settle(
    name: str, mode: Mode, without: tuple[Component, ...], held: Settings | None, *, durable: bool
) -> Settings:
    """Choose what is open: what was chosen before is kept while it can be."""
    if held and found(held, held.components):
        return held
    if held:
        # Right after a crash the kernel may not have closed everything yet.
        with suppress(ToolError):
            wait_for("its ports", lambda: all(map(is_free, held.ports.values())), seconds=_CLOSED_SECONDS)
    with locked(state_root() / "ports.lock"):
        if mode is Mode.FULL:
            # Once more under the lock: another one may have begun at the same time.
            requirements.check_machine(name)
        taken = {port for other in clusters() if other.name != name for port in other.ports.values()}
        ports = choose_ports(PORTS, held.ports if held else {}, taken, is_free)
        pods, bridge_ip = _pods(mode, held)
        settings = Settings(name, mode, ports, without, pods=pods, bridge_ip=bridge_ip, durable=durable)
        settings.save()
    files.write_files(settings)
    return settings


def _pods(mode: Mode, held: Settings | None) -> tuple[str, str]:
    if mode is not Mode.FULL:
        return "", ""
    if held and held.pods:
        return held.pods, held.bridge_ip
    pods = network.choose_pods(network.routed())
    return str(pods), configs.gateway(pods)


def _start_all(settings: Settings, programs: Path) -> None:
    if settings.mode is Mode.FULL:
        _prepare_node(settings)
    for component in settings.components:
        if find(settings, component) and health.is_ready(settings, component):
            continue
        _before(settings, component, programs)
        with step(f"{component} is ready"):
            start(settings, component, programs)
        _after(settings, component)


def _prepare_node(settings: Settings) -> None:
    if not processes.owned(settings.folder, [Component.CONTAINERD, node.SHIM]):
        node.clean(settings)
        (settings.folder / "run").mkdir(exist_ok=True)
    cgroups.prepare(settings)
    network.prepare(settings)


def _before(settings: Settings, component: Component, programs: Path) -> None:
    if component is Component.COREDNS and health.read(settings, _RIGHTS) is None:
        kubeconfig = files.kubeconfig_file(settings)
        run(programs / "kubectl", "--kubeconfig", kubeconfig, "apply", "-f", "-", stdin=configs.rights())


def _after(settings: Settings, component: Component) -> None:
    if component is Component.CONTROLLER_MANAGER:
        wait_for(
            "the first service account",
            lambda: health.read(settings, _DEFAULT_ACCOUNT),
            seconds=_READY_SECONDS,
        )
    if component is Component.CONTAINERD:
        pause.load(settings)
    if component is Component.KUBELET:
        with step("the node is Ready"):
            wait_for("the node", lambda: health.node_is_ready(settings), seconds=_READY_SECONDS)


def _is_up(settings: Settings, component: Component) -> bool:
    if find(settings, component) is None:
        log = log_file(settings, component)
        message = f"{component} ended at its start; {log} says last:\n{tail(log.read_text(errors='replace'))}"
        raise ToolError(message)
    return health.is_ready(settings, component)


def _all_ready(settings: Settings) -> bool:
    running = {process.name for process in found(settings, settings.components)}
    if running != {str(component) for component in settings.components}:
        return False
    if settings.mode is Mode.FULL and not network.is_there(settings):
        return False
    return all(health.is_ready(settings, component) for component in settings.components)


def _stop(settings: Settings) -> None:
    # As safe as an orderly end: etcd has written out what it has acknowledged.
    processes.kill(found(settings, settings.components))
    if settings.mode is Mode.FULL:
        node.remove(settings)
    # The API server's names and the node's files depend on the mode.
    shutil.rmtree(settings.folder / "pki", ignore_errors=True)
