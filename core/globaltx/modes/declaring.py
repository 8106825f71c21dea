"""What is wrong with a declared saga before any of it runs: circles, unknown names, pivots, templates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from globaltx.modes.saga import reached
from globaltx.modes.templates import TemplateError, references
from globaltx.transaction.declared import Recovery

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from globaltx.transaction.declared import Exchange, SagaPlan, StepPlan


def ancestors(plan: SagaPlan) -> Mapping[str, set[str]]:
    """What each step depends on, by way of others or not."""
    edges = {each.name: set(each.depends_on) for each in plan.steps}
    return {name: reached(edges, name) for name in edges}


def problems(plan: SagaPlan) -> Iterator[str]:
    """Tell everything that is wrong, each as ``where: what, and what to do``."""
    names = {each.name for each in plan.steps}
    for name, count in Counter(each.name for each in plan.steps).items():
        if count > 1:
            yield f"steps: {count} are named {name!r}; each needs a name of its own"
    for step in plan.steps:
        for unknown in sorted(set(step.depends_on) - names):
            yield f"steps[{step.name}].dependsOn: there is no step {unknown!r}"
    before = ancestors(plan)
    for name in (each.name for each in plan.steps):
        if name in before[name]:
            yield f"steps[{name}].dependsOn: it depends on itself, by way of others or not; break the circle"
    yield from _pivot_problems(plan, before)
    for step in plan.steps:
        yield from _template_problems(step, names, before[step.name])


def _pivot_problems(plan: SagaPlan, before: Mapping[str, set[str]]) -> Iterator[str]:
    pivots = [each.name for each in plan.steps if each.pivot]
    if len(pivots) > 1:
        yield f"steps: {' and '.join(pivots)} are both pivots; name the one at which taking back ends"
    if pivots and plan.recovery is Recovery.FORWARD:
        yield f"steps[{pivots[0]}].pivot: nothing is taken back with recovery Forward; leave it out"
    for step in plan.steps:
        if step.compensation is not None and plan.recovery is Recovery.FORWARD:
            yield f"steps[{step.name}].compensation: recovery Forward takes nothing back; leave it out"
        elif step.compensation is not None and any(pivot in before[step.name] for pivot in pivots):
            yield f"steps[{step.name}].compensation: what follows the pivot is never taken back; leave it out"


def _template_problems(step: StepPlan, names: set[str], before: set[str]) -> Iterator[str]:
    yield from _exchange_problems(f"steps[{step.name}].request", step.request, names, before)
    if step.compensation is not None:
        where = f"steps[{step.name}].compensation"
        yield from _exchange_problems(where, step.compensation, names, before | {step.name})


def _exchange_problems(where: str, exchange: Exchange, names: set[str], before: set[str]) -> Iterator[str]:
    try:
        found = references(exchange)
    except TemplateError as error:
        yield f"{where}: {error}"
        return
    for each in found:
        if each.step and each.step not in names:
            yield f"{where}: {{{{ {each.text} }}}}: there is no step {each.step!r}"
        elif each.step and each.step not in before:
            yield f"{where}: {{{{ {each.text} }}}}: it may not be done by then; name it in dependsOn"
