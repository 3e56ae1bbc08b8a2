"""How ``check`` tells what it finds: restic's lines and messages, and after them what the damage means."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from restic_format.check.advice import Step, steps
from restic_format.check.findings import Code, Finding, ObjectKind, Severity
from restic_format.check.state import CheckEvent, CheckReport, ReadPlan, Stage
from restic_format.check.subset import Bucket, ByteSize, Percentage
from restic_format.storage.warming import WarmUp
from restic_format.words import visible
from restic_tools.about import PROGRAM
from restic_tools.context import Context
from restic_tools.messages.check import CheckError, CheckFinding, CheckSummary
from restic_tools.warmprint import tell_warm_up

if TYPE_CHECKING:
    from restic_tools.progress import Counter

GUIDE = "https://restic.readthedocs.io/en/stable/077_troubleshooting.html"
RESTIC = "restic"
"""The program that restic's own messages name: with --json they are restic's in every byte."""

_EXPLAINED_WARNINGS = frozenset((Code.SNAPSHOTS_GONE, Code.TREE_COPY_DAMAGED, Code.PACK_UNINDEXED_DAMAGED))

MAX_EXPLAINED = 50
"""Kinds of damage whose meaning is spelled out for people."""

MAX_NAMED = 10
"""Objects, snapshots and paths named for each."""

_STAGES = {
    Stage.INDEX: "load indexes",
    Stage.PACKS: "check all packs",
    Stage.SNAPSHOTS: "check snapshots, trees and blobs",
}
_COUNTED = {Stage.SNAPSHOTS: "snapshots", Stage.READ: "packs"}
_TREE_CODES = frozenset(
    (
        Code.TREE_MISSING,
        Code.TREE_DAMAGED,
        Code.TREE_UNREADABLE,
        Code.TREE_ORDER,
        Code.TREE_FAULTY,
        Code.NODE_NAME,
        Code.NODE_TYPE,
        Code.NODE_NO_CONTENT,
        Code.NODE_NO_SUBTREE,
        Code.NODE_NULL_ID,
        Code.BLOB_MISSING,
        Code.BLOB_UNREADABLE,
    )
)
_PREFIXED = frozenset(
    (
        Code.INDEX_DAMAGED,
        Code.INDEX_ENTRIES_DIFFER,
        Code.SNAPSHOT_DAMAGED,
        Code.SNAPSHOT_NO_TREE,
        Code.SNAPSHOT_NOT_FOUND,
        Code.SNAPSHOT_UNREADABLE,
        Code.INDEX_UNREADABLE,
        Code.INDEX_NONE,
        Code.KEY_DAMAGED,
        Code.KEY_UNREADABLE,
        Code.PACKS_GONE,
        Code.LIST_FAILED,
    )
)
"""Findings told with ``error:`` before them."""

_UNCOUNTED = frozenset((Code.INDEX_ENTRIES_DIFFER, Code.PACKS_GONE))
"""Errors restic does not add to ``num_errors``."""


class CheckPrinter:
    """Is told what a check does (`restic_format.check.CheckEvent`) and prints it."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.errors = 0
        self._tree = ""
        self._counter: Counter | None = None
        self._stack = ExitStack()
        self._repair_index = self._mixed = self._index_damaged = False
        self._unindexed = 0

    def __call__(self, event: CheckEvent) -> None:
        """Tell what happened."""
        if isinstance(event, Finding):
            self._found(event)
        elif isinstance(event, ReadPlan):
            self._reading(event)
        elif isinstance(event, WarmUp):
            if not self.ctx.options.json:
                tell_warm_up(self.ctx.out, event)
        elif event.done == 0:
            self._begin(Stage(event.stage), event.total)
        elif self._counter is not None:
            self._counter.add(event.done - self._counter.done)

    def _begin(self, stage: Stage, total: int) -> None:
        """A stage begins: close what the one before left open, and say so."""
        self.close()
        if stage is Stage.PACKS:
            self._after_index()
        if stage in _STAGES:
            self.ctx.out.info(_STAGES[stage])
        if stage in _COUNTED and not self.ctx.options.json:
            self._counter = self._stack.enter_context(self.ctx.counter(_COUNTED[stage], total))

    def _reading(self, plan: ReadPlan) -> None:
        """Say which packs are about to be read."""
        self.close()
        filtered = "filtered " if plan.filtered else ""
        subset = plan.subset
        if subset is None:
            text = f"read all {filtered}data"
        elif isinstance(subset, Bucket):
            text = (
                f"read group #{subset.number} of {plan.chosen} {filtered}data packs "
                f"(out of total {plan.total} packs in {subset.total} groups)"
            )
        elif isinstance(subset, Percentage):
            text = f"read {subset.percent:.1f}% of {filtered}packfiles"
        else:
            text = _size_line(subset, plan, filtered)
        self.ctx.out.info(text)

    def _found(self, finding: Finding) -> None:
        """Tell one finding as restic tells it; notes only with --verbose."""
        code = finding.code
        if code in (Code.INDEX_DUPLICATE_PACK, Code.PACK_MIXED):
            self._repair_index |= code is Code.INDEX_DUPLICATE_PACK
            self._mixed |= code is Code.PACK_MIXED
            self.ctx.out.line(finding.message)
        elif code is Code.PACK_UNINDEXED:
            self._unindexed += 1
            self.ctx.out.verbose(finding.message)
        elif code is Code.BLOB_UNUSED:
            self.ctx.out.info(finding.message)
        elif code.severity is Severity.NOTE:
            self.ctx.out.verbose(f"note: {finding.message}")
        elif code.severity is Severity.WARNING:
            if not self.ctx.options.json:
                self.ctx.out.warn(f"warning: {finding.message}")
        else:
            self._error(finding)

    # Parts of the output

    def _error(self, finding: Finding) -> None:
        self._index_damaged |= finding.code is Code.INDEX_DAMAGED
        if finding.code not in _UNCOUNTED:
            self.errors += 1
        if finding.code in _TREE_CODES:
            tree = finding.tree or finding.object.name
            if tree != self._tree:
                self.say_error(f"error for tree {tree[:8]}:\n")
                self._tree = tree
            self.say_error(f"  {visible(finding.message)}\n")
            return
        self._tree = ""
        message = visible(finding.message)
        self.say_error(f"error: {message}\n" if finding.code in _PREFIXED else f"{message}\n")

    def say_error(self, text: str) -> None:
        """A line about damage: on standard error, or as an ``error`` message."""
        if self.ctx.options.json:
            self.ctx.out.json_error(CheckError("error", text))
        else:
            self.ctx.out.warn(text.removesuffix("\n"), block=True)

    def close(self) -> None:
        """Leave the counter's last state on the screen."""
        self._counter = None
        self._stack.close()

    def _after_index(self) -> None:
        if self._repair_index:
            self.ctx.out.line(f"Duplicate packs are non-critical, you can run `{PROGRAM} repair index' to correct this.")
        if self._index_damaged and self.ctx.options.json:
            self.say_error(
                "\nThe repository index is damaged and must be repaired. "
                f"You must run `{RESTIC} repair index' to correct this.\n\n"
            )

    def conclude(self, report: CheckReport) -> None:
        """What comes after the last finding: what it all means, and what to do."""
        self.close()
        if self.ctx.options.json:
            if self.ctx.options.verbose:
                for finding in report.findings:
                    self.ctx.out.json(_message(finding))
            self._point_to_guide(report)
            return
        self._explain(report)
        if report.ok and report.suggest_prune:
            self._suggest_prune()
        self._advise(report)

    def _suggest_prune(self) -> None:
        if self._mixed:
            self.ctx.out.line(
                f"Mixed packs with tree and data blobs are non-critical, you can run `{PROGRAM} prune` to correct this."
            )
        if self._unindexed:
            self.ctx.out.info(
                f"{self._unindexed} additional files were found in the repo, which likely contain duplicate data.\n"
                f"This is non-critical, you can run `{PROGRAM} prune` to correct this.",
                block=True,
            )

    def _point_to_guide(self, report: CheckReport) -> None:
        """What restic says at the end of all errors."""
        broken = report.broken_packs
        if report.unreadable:
            self.say_error(
                "\nParts of the repository cannot be read. That is not damage: make them readable and check again; "
                "until then run no repair, forget or prune.\n\n"
            )
        elif broken:
            self.say_error(
                "\nThe repository contains damaged pack files. These damaged files must be removed to repair the "
                "repository. This can be done using the following commands. Please read the troubleshooting guide at "
                f"{GUIDE} first.\n\n"
            )
            self.say_error(f"{RESTIC} repair packs {' '.join(broken)}\n{RESTIC} repair snapshots --forget\n\n")
        elif not report.ok and not self._only_index(report):
            self.say_error(
                f"\nThe repository is damaged and must be repaired. Please follow the troubleshooting guide at {GUIDE} .\n\n"
            )

    def _only_index(self, report: CheckReport) -> bool:
        return self._index_damaged and report.count(Severity.ERROR) == report.counts[Code.INDEX_DAMAGED]

    def _explain(self, report: CheckReport) -> None:
        groups: dict[tuple[object, ...], list[Finding]] = {}
        for finding in report.findings:
            if finding.severity is not Severity.ERROR and finding.code not in _EXPLAINED_WARNINGS:
                continue
            if finding.code is Code.PACK_INCOMPLETE:
                continue
            # Findings that differ in nothing but the object are told together.
            groups.setdefault((finding.code, finding.rule, finding.effect), []).append(finding)
        if not groups:
            return
        lines = ["", "What the damage means:" if not report.ok else "What this means:"]
        for group in list(groups.values())[:MAX_EXPLAINED]:
            lines += _explanation(group)
        if len(groups) > MAX_EXPLAINED:
            lines.append(f"  … and {len(groups) - MAX_EXPLAINED} more kinds of damage")
        self.ctx.out.warn("\n".join(map(visible, lines)), block=True)

    def _advise(self, report: CheckReport) -> None:
        todo = steps(report.findings)
        if not todo:
            return
        lines = ["", f"What to do, in this order (see also {GUIDE}):"]
        if any(step.is_command for step in todo):
            todo.insert(0, Step("keep a copy of the repository as it is now, if there is any room for one", is_command=False))
        for number, step in enumerate(todo, 1):
            lines.append(f"  {number}. {PROGRAM} {step.text}" if step.is_command else f"  {number}. {step.text}")
        if any(step.is_command for step in todo):
            lines.append(
                f"Or in one go: `{PROGRAM} heal --dry-run` shows what it would do, `heal` does it, `heal --undo` takes it back"
            )
        self.ctx.out.warn("\n".join(map(visible, lines)) + "\n", block=True)


def summary_of(report: CheckReport | None, errors: int) -> CheckSummary:
    """The message that ends ``check --json``; without a report nothing could be checked."""
    if report is None:
        return CheckSummary("summary", max(errors, 1), None, False, False)
    if not report.ok:
        errors = max(errors, 1)
    return CheckSummary("summary", errors, report.broken_packs or None, report.suggest_repair_index, report.suggest_prune)


def _size_line(subset: ByteSize, plan: ReadPlan, filtered: str) -> str:
    size = min(subset.size, plan.total_bytes)
    percent = size / plan.total_bytes * 100.0 if plan.total_bytes else 100.0
    return f"read {size} bytes ({percent:.1f}%) of {filtered}data packs"


def _explanation(group: list[Finding]) -> list[str]:
    first = group[0]
    kind = first.object.kind.value
    names = list(dict.fromkeys(finding.object.name for finding in group))
    shown = names if first.object.kind is ObjectKind.FILE else [name[:8] for name in names]
    title = f"  {kind} {_listed(shown, len(shown))}".rstrip()
    lines = [f"{title} ({first.code.value}, {first.rule}): {first.effect}"]
    costs = [finding.consequence for finding in group]
    snapshots = list(dict.fromkeys(ident[:8] for cost in costs for ident in cost.snapshots))
    if snapshots:
        total = max(len(snapshots), *(cost.snapshots_total for cost in costs))
        lines.append(f"    snapshots affected: {_listed(snapshots, total)}")
    paths = list(dict.fromkeys(path.path for cost in costs for path in cost.paths))
    if paths:
        total = max(len(paths), *(cost.paths_total for cost in costs))
        lines.append(f"    paths affected: {_listed(paths, total)}")
    return lines


def _listed(items: list[str], total: int) -> str:
    shown = items[:MAX_NAMED]
    more = total - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _message(finding: Finding) -> CheckFinding:
    cost = finding.consequence
    return CheckFinding(
        "finding",
        finding.code.value,
        finding.severity.value,
        finding.object.kind.value,
        finding.object.name,
        finding.rule,
        finding.message,
        finding.effect,
        list(cost.snapshots),
        cost.snapshots_total,
        [path.path for path in cost.paths],
        cost.paths_total,
        [f"{PROGRAM} {command}" for command in finding.repair],
        finding.advice,
    )
