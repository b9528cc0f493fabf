"""`breakglass access`."""

from __future__ import annotations

import click

from breakglass.cli.analysis import (
    analysis_output_option,
    emit,
    emit_page,
    exit_code_option,
    exit_on_difference,
    read_input,
    read_inputs,
)


@click.group("access", epilog="Example: breakglass access diff before/ after/")
def command() -> None:
    """Who may do what, before and after: RBAC, with what it amounts to.

    PATH is a directory or file of manifests, a kustomize root, or - for stdin.
    """


@command.command("map", epilog="Example: breakglass access map base")
@click.argument("path")
@analysis_output_option
def access_map(path: str, output: str) -> None:
    """Tell who may do what by the manifests in PATH, and the bindings that say so."""
    from breakglass.analysis.access.access import Access
    from breakglass.analysis.report.access_json import map_document
    from breakglass.analysis.report.access_page import page_of_access_map

    manifests = read_input(path)
    access = Access(manifests)
    if output == "json":
        emit(map_document(tuple(access.granted()), sorted(access.unseen())))
    else:
        emit_page(page_of_access_map(access), output)


@command.command("diff", epilog="Example: breakglass access diff before/ after/ --output json")
@click.argument("before")
@click.argument("after")
@exit_code_option
@analysis_output_option
def access_diff(before: str, after: str, exit_code: bool, output: str) -> None:
    """Tell what AFTER grants and BEFORE does not, what it revokes, and what that amounts to."""
    from breakglass.analysis.access.access import Access
    from breakglass.analysis.access.difference import compare_access
    from breakglass.analysis.comparison import Map, read_network_and_routes
    from breakglass.analysis.network.profile import PROFILES
    from breakglass.analysis.network.within import Within
    from breakglass.analysis.report.access_json import diff_document
    from breakglass.analysis.report.access_page import page_of_access_diff

    old, new = read_inputs(before, after)
    within = Within(Map(read_network_and_routes(new), PROFILES["upstream"]).connections)
    change = compare_access(Access(old), Access(new), within.reaches)
    if output == "json":
        emit(diff_document(change))
    else:
        emit_page(page_of_access_diff(change), output)
    exit_on_difference(exit_code, bool(change))


@command.command("who-can", epilog="Example: breakglass access who-can create pods/exec base --namespace shop")
@click.argument("verb")
@click.argument("resource")
@click.argument("path", default=".")
@click.option("-n", "--namespace", metavar="NAME", help="Only what is granted there; any namespace if not given.")
@click.option("--name", metavar="NAME", default="", help="Only what is granted on the object of this name.")
@analysis_output_option
def who_can(verb: str, resource: str, path: str, namespace: str | None, name: str, output: str) -> None:
    """Tell who can do VERB on RESOURCE by the manifests in PATH (here, if not given).

    RESOURCE is a plural with its group where that is not Kubernetes' own (pods/exec, deployments.apps), or a URL
    (/metrics).
    """
    from breakglass.analysis.access import question as access_question
    from breakglass.analysis.access.access import Access
    from breakglass.analysis.report.access_json import who_can_document
    from breakglass.analysis.report.access_page import page_of_who_can

    question = access_question.read_question(verb, resource, namespace, name)
    manifests = read_input(path)
    access = Access(manifests)
    if output == "json":
        unseen = access_question.perhaps(access, question)
        emit(who_can_document(question, access_question.who_can(access, question), unseen))
    else:
        emit_page(page_of_who_can(access, question), output)
