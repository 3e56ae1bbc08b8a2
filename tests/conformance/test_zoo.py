"""The damage zoo: kinds of damage are always the same bytes, what they cost is computed, and the judge sees what is missing."""

import json
import random
import shutil
import sys
from dataclasses import asdict, replace
from itertools import takewhile
from pathlib import Path

import pytest

from restic_conformance.programs import PASSWORD, Mismatch, Program, Run, make_program
from restic_conformance.zoo import report, repositories, rescuers
from restic_conformance.zoo.cases import Cases, run_cases
from restic_conformance.zoo.change import Change, Hurt, differing
from restic_conformance.zoo.diagnosis import HurtPath, expect, heard, joined
from restic_conformance.zoo.judge import Judge, Outcome, tells_only_of
from restic_conformance.zoo.prognosis import Way, foresee, solvable
from restic_conformance.zoo.recipes import RECIPES, recipe
from restic_conformance.zoo.recipes_files import flip_bits, overwrite
from restic_conformance.zoo.rescuers import Rescue, ResticRepair, RusticRepair
from restic_conformance.zoo.site import Site, open_master, pack_path, read_files, readable
from restic_spec.pack import BlobType
from restic_spec.tree import decode_tree


@pytest.fixture(scope="module")
def reference(peer) -> Program:
    return make_program("restic-0.19", [str(peer("restic-0.19"))])


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def foreign(reference, zoo):
    return repositories.write_small(reference, 2, zoo / "foreign")


@pytest.fixture(scope="module")
def site(reference, zoo, foreign):
    return Site(repositories.write(reference, 2, zoo / "v2"), foreign)


@pytest.fixture(scope="module")
def twice(reference, zoo, foreign):
    return Site(repositories.write_twice(reference, 1, zoo / "twice"), foreign)


@pytest.fixture(scope="module")
def judge(site, reference, zoo):
    return Judge(site, reference, zoo)


def _prognosis(site, name, seed=1):
    return foresee(site, recipe(name).change(site, seed))


def test_there_are_kinds_enough_and_each_has_a_name_of_its_own():
    assert len(RECIPES) >= 60
    assert len({one.name for one in RECIPES}) == len(RECIPES)
    assert len({one.what for one in RECIPES}) == len(RECIPES)


def test_the_same_seed_changes_the_same_bytes(site):
    for one in RECIPES:
        change = one.change(site, 1)
        assert change == one.change(site, 1), one.name
        assert change.applied(site.files) != site.files or change.modes or change.without_folders, one.name
        prognosis = foresee(site, change)
        assert 0 <= prognosis.recoverable <= prognosis.total == site.total, one.name
        # What is lost is lost, and what is whole is whole: no file counts that has no chunk left.
        assert (prognosis.recoverable == prognosis.total) or prognosis.lost or not prognosis.opens, one.name


def test_other_seeds_change_other_bytes(site):
    for name in ("data-blob-bit", "snapshot-byte", "index-block", "header-bit"):
        assert len({str(sorted(recipe(name).change(site, seed).hurts(site.files))) for seed in range(5)}) > 1


def test_every_kind_applies_to_version_1_too(twice):
    left_out = {one.name for one in RECIPES if one.change(twice, 1) is None}
    # Nothing is compressed in it, and it has one snapshot.
    assert left_out == {"index-lies-uncompressed-length", "snapshot-swapped"}


def test_a_change_on_disk_is_the_change_in_memory(site, tmp_path):
    for name in ("data-pack-swapped", "index-folder-gone", "strays", "key-half"):
        shutil.copytree(site.repository, tmp_path / name)
        change = recipe(name).change(site, 1)
        change.apply(tmp_path / name)
        assert read_files(tmp_path / name) == change.applied(site.files)


def test_hurts_are_ranges(site):
    name = site.packs_of(BlobType.DATA)[0]
    raw = site.files[pack_path(name)]
    change = Change({pack_path(name): overwrite(raw, 5000, bytes(4096)), "config": None})
    config, pack = change.hurts(site.files)
    assert config == Hurt("config", 0, len(site.files["config"]))
    assert (pack.path, 5000 <= pack.start < 5100, 9000 <= pack.end <= 9096) == (pack_path(name), True, True)
    assert differing(b"abc" * 20, b"abc" * 20 + b"more") == [(60, 64)]
    assert differing(b"a" * 100, b"b" + b"a" * 50 + b"b" + b"a" * 48) == [(0, 1), (51, 52)]


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("index-missing", "index rebuilt"),
        ("index-lies-offset", "index rebuilt"),
        ("snapshot-missing", "from its trees"),
        ("snapshot-bit", "solved"),
        ("config-missing", "rebuilt"),
        ("config-bit", "solved"),
        ("key-missing", "other key"),
        ("keys-bit", "solved"),
        ("keys-gone", "lost"),
        ("data-blob-bit", "pack written anew, solved"),
        ("data-blob-iv", "pack written anew, solved"),
        ("data-blob-across", "pack written anew, solved"),
        ("data-blob-before-hashing", "solved"),
        ("tree-blob-before-sealing", "solved"),
        ("copies-damaged", "pack written anew, damaged copies joined"),
        ("index-lies-pack-added", ""),
        ("header-lost", "pack written anew"),
        ("data-pack-renamed", "index rebuilt, under another name"),
        ("data-pack-grown", "cut to its length"),
        ("no-index-and-no-header", "index rebuilt, found by its MAC, pack written anew"),
        ("pack-stray", ""),
        ("lock-garbage", ""),
    ],
)
def test_by_what_it_can_be_had(site, name, ways):
    prognosis = _prognosis(site, name)
    assert ", ".join(prognosis.ways) == ways
    assert prognosis.recoverable == (0 if name == "keys-gone" else site.total)


def test_the_cost_is_that_of_the_blobs(site):
    prognosis = _prognosis(site, "data-blob-two-blocks")
    (lost,) = prognosis.lost
    uses = sum(file.chunks.count(lost[1]) for saved in site.saved.values() for file in saved)
    assert uses
    assert site.total - prognosis.recoverable == uses * len(site.plain[lost])


def test_a_tree_of_which_entries_are_left_costs_the_others(site):
    prognosis = _prognosis(site, "tree-entry-garbled")
    ((tree, kept),) = prognosis.entries.items()
    names = {node.name_bytes for node in decode_tree(site.plain[BlobType.TREE, tree])}
    assert len(names - kept) == 1
    for name, saved in site.saved.items():
        for file in filter(lambda file: file.chunks, saved):
            assert all(prognosis.chunks[name][file.path]) is (file.trees[-1] != tree or file.path[-1] in kept)


def test_a_tree_that_is_lost_costs_what_is_in_its_folder_and_no_more(site):
    prognosis = _prognosis(site, "tree-pack-half")
    lost = {key[1] for key in prognosis.lost}
    named = {node.subtree for tree in _trees(site) - lost for node in decode_tree(site.plain[BlobType.TREE, tree])}
    for name, saved in site.saved.items():
        for file in filter(lambda file: file.chunks, saved):
            left = list(takewhile(lambda tree: tree not in lost, file.trees[::-1]))
            found = bool(left) and (len(left) == len(file.trees) or left[-1].hex() not in named)
            assert all(prognosis.chunks[name][file.path]) is found


def _trees(site):
    return {ident for kind, ident in site.plain if kind is BlobType.TREE}


def test_of_two_copies_one_is_enough(twice):
    for name in ("data-pack-missing", "data-blob-two-blocks", "tree-pack-empty", "pack-start-zeroed"):
        prognosis = _prognosis(twice, name)
        assert (prognosis.recoverable, not prognosis.lost) == (twice.total, True)
        assert Way.COPY in prognosis.blobs.values()


def test_what_the_mac_determines():
    chance = random.Random(1)
    box = chance.randbytes(16 + 100 + 16)
    whole = overwrite(box, 32, bytes(16))
    assert solvable(box, whole)
    assert solvable(box, overwrite(box, 0, bytes(16)))
    assert solvable(box, overwrite(box, len(box) - 16, bytes(16)))
    assert solvable(box, flip_bits(box, (3, 1), (120, 8)))
    assert not solvable(box, flip_bits(whole, (3, 1), (7, 1)))
    assert not solvable(box, box[:-1])


@pytest.mark.parametrize(
    ("first", "last", "can"),
    [(31, 32, True), (38, 49, True), (37, 49, False), (12, 16, True), (12, 17, False), (108, 119, True), (108, 120, False),
     (0, 115, False)],
)  # fmt: skip
def test_how_long_a_run_over_a_border_may_be(first, last, can):
    box = random.Random(1).randbytes(16 + 100 + 16)
    assert solvable(box, flip_bits(box, *((place, 255) for place in range(first, last + 1)))) is can


def test_a_bit_of_the_iv_or_tag_beside_a_run():
    box = random.Random(1).randbytes(16 + 100 + 16)
    run = [(place, 255) for place in range(32, 43)]
    assert solvable(box, flip_bits(box, *run, (3, 1)))
    assert solvable(box, flip_bits(box, *run, (120, 1)))
    assert not solvable(box, flip_bits(box, *run, (43, 255), (3, 1)))
    assert not solvable(box, flip_bits(box, *run, (3, 3)))


@pytest.mark.parametrize("name", ["snapshot-missing", "data-blob-bit", "data-pack-grown", "config-bit"])
def test_what_restic_brings_back(judge, site, reference, name):
    outcome = judge.case(recipe(name).change(site, 1), ResticRepair(reference))
    assert (not outcome.more_lost) is (outcome.recovered == outcome.recoverable)
    assert (outcome.recovered == outcome.recoverable) is (name == "snapshot-missing")
    assert outcome.clean is (name != "config-bit")
    assert not outcome.only_lost
    assert (outcome.recovered == 0) is (name == "config-bit")
    lost = len(site.packs[site.packs_of(BlobType.DATA)[0]]) if name == "data-pack-grown" else 0
    assert outcome.healthy_lost == lost
    assert outcome.undone is None


@pytest.fixture(scope="module")
def ours() -> Program:
    return make_program("ours", [str(Path(sys.executable).with_name("restic-format"))])


HEALED = (
    "config-missing", "key-swapped", "snapshot-missing", "data-blob-bit", "copies-damaged", "tree-entry-garbled",
    "unindexed-and-header-bit",
)  # fmt: skip
HEALED_IN_TIME = (
    "index-lies-pack", "data-pack-missing", "data-pack-renamed", "scattered-zeros", "no-index-and-no-header", "lock-garbage",
)  # fmt: skip
"""Kinds that take longer or show less."""


@pytest.mark.parametrize("name", [*HEALED, *(pytest.param(name, marks=pytest.mark.slow) for name in HEALED_IN_TIME)])
def test_heal_brings_back_all_that_can_be_had(judge, site, ours, name):
    outcome = judge.case(recipe(name).change(site, 1), rescuers.rescuer("heal", {"ours": ours}))
    assert outcome.more_lost == (), outcome.runs[0].output
    assert (outcome.healthy_lost, outcome.undone) == (0, True)
    assert outcome.only_lost if outcome.recoverable < outcome.total else outcome.clean, outcome.runs[-1].output


class Nothing:
    """Repairs nothing, but says that it takes back."""

    name = "nothing"

    def __init__(self, program, then=None, undo=(), precaution=()):
        self.program = program
        self.precaution = precaution
        self.then = then
        self.undo = undo

    def rescue(self, rescue: Rescue) -> None:
        if self.then:
            self.then(rescue.repository)


def test_the_judge_sees_that_nothing_was_done(judge, site, reference):
    outcome = judge.case(recipe("index-missing").change(site, 1), Nothing(reference))
    assert outcome.recovered < outcome.recoverable
    assert not outcome.clean
    assert outcome.healthy_lost == 0
    assert outcome.more_lost


def test_the_judge_sees_what_a_repair_destroys(judge, site, reference):
    gone = site.packs_of(BlobType.DATA)[-1]

    def destroy(repository):
        (repository / pack_path(gone)).unlink()

    outcome = judge.case(Change(), Nothing(reference, destroy, ("snapshots",)))
    assert outcome.healthy_lost == len(site.packs[gone])
    assert outcome.recoverable == site.total > outcome.recovered
    assert outcome.undone is False


def test_the_judge_sees_that_all_was_taken_back(judge, reference):
    def set_aside(repository):
        (repository / "quarantine" / "run").mkdir(parents=True)
        (repository / "quarantine" / "run" / "journal").write_bytes(b"what was done")

    kept = judge.case(Change(), Nothing(reference, set_aside, ("snapshots", "--no-lock")))
    assert (kept.undone, kept.clean, kept.healthy_lost) == (True, True, 0)
    assert judge.case(Change(), Nothing(reference, undo=("snapshots", "--no-lock"))).undone is True
    assert judge.case(Change(), Nothing(reference, undo=("no-such-command",))).undone is True  # There is nothing to take back.
    assert judge.case(Change(), Nothing(reference, set_aside, undo=("no-such-command",))).undone is False


def test_a_precaution_is_taken_before_the_damage(judge, site, reference):
    seen = []

    def look(repository):
        seen.append(sorted(path.name for path in (repository / "snapshots").iterdir()))

    precaution = ("tag", "--add", "safe")
    outcome = judge.case(recipe("config-missing").change(site, 1), Nothing(reference, look, precaution=precaution))
    assert len(seen[0]) == 2
    assert not {*seen[0]} & {*site.saved}  # they are tagged
    assert (outcome.recovered, outcome.clean) == (0, False)
    with pytest.raises(Mismatch, match="exit code"):
        other = Nothing(reference, precaution=("no-such-command",))
        other.name = "other"
        judge.prepare([other])


def test_what_is_lost_may_be_told_by_a_check():
    lost, other = "a" * 64, "b" * 64
    line = f'error for tree {other[:8]}:\n  tree {other}: file "x" blob {{}} not found in index\n'

    def told(text):
        end = "\nThe repository is damaged and must be repaired. Please follow\n\nFatal: repository contains errors\n"
        return tells_only_of(Run(("check",), 1, f"load indexes\n[0:00] 100.00%  4 / 4 packs\n{text}", end), {lost})

    assert told(line.format(lost))
    assert not told("")
    assert not told(line.format(other))
    assert not told(line.format(lost) + f"pack {other}: unexpected file size")
    assert not told(line.format(lost) + "unable to open the config")


def test_cases_are_run_and_told(site, judge, reference, tmp_path, capsys):
    way = Nothing(reference)
    with (tmp_path / "log").open("w") as log:
        rows = list(run_cases(Cases(site, judge, {"nothing": way}, None, 1), ["lock-empty", "config-empty"], 1, log))
    assert [(row.name, row.programs["nothing"].clean) for row in rows] == [("config-empty", False), ("lock-empty", True)]
    assert [row.programs["nothing"].recovered for row in rows] == [0, site.total]
    assert len(capsys.readouterr().out.splitlines()) == 2
    told = (tmp_path / "log").read_text()
    assert told.startswith("=== config-empty: nothing: 0/")
    assert "check --read-data -> 1" in told
    assert "lock-empty" not in told


def test_a_way_needs_its_program_and_its_commands(reference):
    programs = {"restic-0.19": reference, "ours": reference}
    assert isinstance(rescuers.rescuer("our repair", programs), ResticRepair)
    assert rescuers.rescuer("rustic", programs) is None
    assert rescuers.rescuer("heal", programs) is None
    assert rescuers.rescuer("as it is", programs).name == "as it is"


def test_blobs_count_as_readable_through_an_index_only(site):
    everything = set(site.plain)
    assert readable(site.files) == everything
    assert readable(recipe("indexes-gone").change(site, 1).applied(site.files)) == set()
    one = recipe("data-blob-bit").change(site, 1)
    assert len(everything - readable(one.applied(site.files))) == 1
    assert readable(recipe("keys-gone").change(site, 1).applied(site.files)) == set()


def test_the_password_that_still_opens_is_used(site):
    assert open_master(site.files)[1] == PASSWORD
    assert open_master(recipe("key-missing").change(site, 1).applied(site.files))[1] != PASSWORD


def test_a_fixture_of_rustic_can_be_damaged(tmp_path, foreign):
    site = Site(repositories.from_fixture("rustic-v2", tmp_path / "rustic"), foreign)
    assert site.total
    for name in ("data-blob-bit", "index-lies-id", "tree-pack-missing"):
        assert foresee(site, recipe(name).change(site, 1)).hurts


@pytest.mark.parametrize("name", ["restic-0.14-v1", "restic-0.18-v2", "duplicates-v2"])
def test_what_old_programs_wrote_can_be_damaged(tmp_path, foreign, name):
    site = Site(repositories.from_fixture(name, tmp_path / "fixture"), foreign)
    for kind in ("index-lies-offset", "header-bit", "tree-pack-missing", "snapshot-missing", "config-bit"):
        prognosis = foresee(site, recipe(kind).change(site, 1))
        assert prognosis.ways
        assert prognosis.recoverable == site.total or kind == "tree-pack-missing"


def _expected(site, name):
    change = recipe(name).change(site, 1)
    return expect(site, change, foresee(site, change))


def _diagnosis(expected, **messages):
    """A run of ``diagnose`` that says exactly what is expected, but for what is given."""
    whole = [
        {"message_type": "snapshot", "id": name, "whole": name in expected.whole} for name in expected.whole | expected.hurt
    ]
    paths = [
        {
            "message_type": "path",
            "path": one.path,
            "type": one.type,
            "hope": "damaged",
            "ranges": [{"start": start, "end": end} for start, end in one.ranges],
        }
        for one in expected.paths
    ]
    faults = [{"message_type": "fault", "object": "pack", "id": name} for name in expected.named if name != "config"]
    faults += [{"message_type": "fault", "object": "config", "id": ""}] if "config" in expected.named else []
    said = {"faults": faults, "paths": paths, "snapshots": whole, "summary": [{"message_type": "summary"}], **messages}
    return Run(("diagnose",), 1, "".join(json.dumps(one) + "\n" for part in said.values() for one in part), "")


def test_a_diagnosis_has_to_name_the_file_and_what_it_costs(site):
    expected = _expected(site, "data-blob-bit")
    pack = site.packs_of(BlobType.DATA)[0]
    assert expected.named == {pack}
    change = recipe("data-blob-bit").change(site, 1)
    (lost,) = set(site.plain) - readable(change.applied(site.files))
    using = {name: [file for file in saved if lost[1] in file.chunks] for name, saved in site.saved.items()}
    assert expected.hurt == {name for name, files in using.items() if files}
    assert expected.whole == set(site.saved) - expected.hurt
    assert {one.path for one in expected.paths} == {
        "/" + b"/".join(file.path).decode() for files in using.values() for file in files
    }
    for one in expected.paths:
        assert sum(end - start for start, end in one.ranges) == len(site.plain[lost])


def test_a_folder_that_cannot_be_read_stands_for_what_is_in_it(site):
    expected = _expected(site, "tree-pack-empty")
    assert HurtPath("/", "dir", ()) in expected.paths
    assert {(one.type, one.ranges) for one in expected.paths} == {("dir", ())}
    assert expected.named == {site.packs_of(BlobType.TREE)[0]}


@pytest.mark.parametrize(
    ("name", "named"),
    [("config-missing", 1), ("key-bit", 1), ("snapshot-half", 1), ("index-byte", 1), ("lock-garbage", 1), ("pack-stray", 1),
     ("index-missing", 2), ("index-foreign", 1), ("pack-misplaced", 1), ("key-missing", 0), ("modes", 0)],
)  # fmt: skip
def test_how_many_files_are_to_be_named(site, name, named):
    assert len(_expected(site, name).named) == named


def test_what_is_healthy_is_to_be_called_whole(site):
    expected = expect(site, Change(), foresee(site, Change()))
    assert (expected.named, expected.hurt, expected.paths) == (frozenset(), frozenset(), frozenset())
    assert expected.whole == set(site.saved)


def test_what_a_diagnosis_says_is_held_against_it(site):
    expected = _expected(site, "data-blob-bit")
    assert heard(expected, _diagnosis(expected)).right
    assert heard(expected, _diagnosis(expected, faults=[])).unnamed == tuple(expected.named)
    assert len(heard(expected, _diagnosis(expected, paths=[])).paths_missing) == len(expected.paths)
    healthy = [{"message_type": "snapshot", "id": name, "whole": True} for name in site.saved]
    assert set(heard(expected, _diagnosis(expected, snapshots=healthy)).snapshots_wrong) == expected.hurt
    other = {"message_type": "path", "path": "/x", "type": "file", "hope": "lost", "ranges": [{"start": 0, "end": 5}]}
    assert heard(expected, _diagnosis(expected, more=[other])).paths_too_many == (HurtPath("/x", "file", ((0, 5),)),)
    assert heard(expected, _diagnosis(expected, summary=[])).words() == "did not end as it should"
    assert heard(expected, _diagnosis(expected, faults=[], more=[other])).words() == "1 not named; 1 costs that are none"
    assert joined([(5, 9), (0, 3), (3, 4), (9, 9)]) == ((0, 4), (5, 9))


def test_a_program_has_a_command_when_its_help_lists_it():
    def program(text):
        return Program("ours", ["printf", text + "\\n"], global_arguments=())

    assert rescuers.has_command(program("Available Commands:\\n  find   Find\\n  heal   Repair"), "heal")
    assert not rescuers.has_command(program("Available Commands:\\n  find   Find\\n  unheal  Break"), "heal")


class Recorder(Program):
    """Answers every call with the next of some codes and outputs."""

    def __init__(self, name, answers):
        super().__init__(name, [name])
        self.answers = list(answers)

    def run(self, repository, *arguments, **_):
        code, output = self.answers.pop(0)
        return Run(arguments, code, output, "")


def test_a_call_that_does_not_end_is_stopped_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(rescuers, "PATIENCE", 0.2)
    rescue = Rescue(tmp_path, tmp_path)
    sleeper = Program("sleeper", ["sleep"], global_arguments=())
    assert rescue.run(sleeper, "60").code == rescuers.HUNG
    outcome = Outcome(100, 100, 200, True, False, 0, (), None, 0.1, tuple(rescue.runs))
    row = _row("one", 100)
    row.programs["restic-0.19"] = report.measured(outcome)
    assert row.programs["restic-0.19"].stopped
    kept = {"repository": "r", "rows": [asdict(row)], "programs": {"restic-0.19": "restic"}}
    assert "| **100 %** … |" in report.page(kept)
    row.programs["restic-0.19"] = replace(row.programs["restic-0.19"], clean=False, only_lost=True, stopped=False)
    assert "| **100 %** |" in report.page({**kept, "rows": [asdict(row)]})


def test_restic_is_asked_for_what_its_check_suggests(tmp_path):
    packs = " ".join((str(number) * 64) for number in (1, 2))
    suggests = f"restic repair packs {packs}\nrestic repair snapshots --forget\n"
    program = Recorder("restic", [(0, ""), (1, "bad"), (0, ""), (1, suggests), (0, ""), (2, "panic"), (0, ""), (0, "")])
    rescue = Rescue(tmp_path, tmp_path)
    ResticRepair(program).rescue(rescue)
    assert [" ".join(run.command) for run in rescue.runs] == [
        "unlock --remove-all", "check --read-data", "repair index", "check --read-data", f"repair packs {packs}",
        "recover", "unlock --remove-all",
        "repair snapshots --forget",
    ]  # fmt: skip


def test_what_is_healthy_is_left_alone(tmp_path):
    rescue = Rescue(tmp_path, tmp_path)
    ResticRepair(Recorder("restic", [(0, "")] * 3)).rescue(rescue)
    RusticRepair(Recorder("rustic", [(0, "")])).rescue(rescue)
    assert [" ".join(run.command) for run in rescue.runs] == [
        "unlock --remove-all", "check --read-data", "recover", "check --read-data",
    ]  # fmt: skip


def _row(name, recovered, *, program="restic-0.19", recoverable=100):
    row = report.Row(name, "files", f"{name} is hurt", ["solved"], recoverable, 200)
    row.programs[program] = report.Measured(recovered, recovered == 100, 0, None, 0.1)
    return row


def test_the_table_keeps_what_was_not_measured_again(tmp_path):
    report.write(tmp_path, "r", 1, {"restic-0.19": "restic 0.19.1"}, [_row("one", 100), _row("two", 30)], {})
    report.write(tmp_path, "r", 1, {"heal": "ours"}, [_row("two", 100, program="heal")], report.read(tmp_path))
    lines = (tmp_path / "zoo.md").read_text().splitlines()
    assert "| one is hurt | 50.0 % | solved | **100 %** | · |" in lines
    assert "| two is hurt | 50.0 % | solved | 30.0 % ✗ | **100 %** |" in lines
    assert "| restic-0.19 | 1 of 2 | 65.0 % | 1 of 2 | 0 | no such command |" in lines
    assert "Programs: restic 0.19.1; ours." in lines
    report.write(tmp_path, "r", 2, {"heal": "ours"}, [_row("two", 100, program="heal")], report.read(tmp_path))
    assert "one is hurt" not in (tmp_path / "zoo.md").read_text()


def test_a_precaution_is_measured_by_all_bytes(tmp_path):
    row = _row("one", 100, program="heal after protect")
    row.programs["heal after protect"] = report.Measured(150, True, 0, True, 0.1)
    report.write(tmp_path, "r", 1, {"heal after protect": "ours"}, [row], {})
    lines = (tmp_path / "zoo.md").read_text().splitlines()
    assert "| one is hurt | 50.0 % | solved | 75.0 % |" in lines
    assert "| heal after protect | 0 of 1 | 75.0 % | 1 of 1 | 0 | 1 of 1 |" in lines


def test_the_table_tells_of_diagnoses(tmp_path):
    right, wrong, old = _row("one", 100), _row("two", 30), _row("three", 30)
    right.diagnosis, wrong.diagnosis = "", "1 not named"
    report.write(tmp_path, "r", 1, {"restic-0.19": ""}, [right, wrong, old], {})
    lines = (tmp_path / "zoo.md").read_text().splitlines()
    assert "| one is hurt | 50.0 % | solved | **100 %** | ✓ |" in lines
    assert "| two is hurt | 50.0 % | solved | 30.0 % ✗ | ✗ |" in lines
    assert "| three is hurt | 50.0 % | solved | 30.0 % ✗ | · |" in lines
    assert "`diagnose` says exactly what is damaged and what it costs in 1 of 2 cases." in lines
    report.write(tmp_path, "r", 1, {"restic-0.19": ""}, [_row("one", 100)], report.read(tmp_path))
    assert "| one is hurt | 50.0 % | solved | **100 %** | ✓ |" in (tmp_path / "zoo.md").read_text().splitlines()


def test_a_cell_never_rounds_up_to_all(tmp_path):
    report.write(tmp_path, "r", 1, {"restic-0.19": ""}, [_row("one", 99_999, recoverable=100_000)], {})
    assert "| 99.9 % ✗ |" in (tmp_path / "zoo.md").read_text()


def test_the_page_in_the_documentation_is_that_of_its_numbers(project_root):
    docs = project_root / "docs"
    assert (docs / "zoo.md").read_text(encoding="utf-8") == report.page(report.read(docs))
    assert {row["name"] for row in report.read(docs)["rows"]} == {one.name for one in RECIPES}


def test_the_table_shows_nothing_that_can_be_had_left_unrecovered(project_root):
    for row in report.decode_rows(report.read(project_root / "docs")["rows"]):
        healed = row.programs["heal"]
        assert (row.name, healed.recovered >= row.recoverable, healed.files_behind) == (row.name, True, 0)
        assert (row.name, healed.clean or healed.only_lost, healed.healthy_lost, healed.undone) == (row.name, True, 0, True)
        assert (row.name, row.diagnosis) == (row.name, "")
