"""The table of what each native part buys: which workloads it names, what it marks, and a run of the smallest of them."""

import subprocess
import sys

import pytest

from restic_format.native.parts import PARTS


@pytest.fixture
def bench(project_root, monkeypatch):
    monkeypatch.syspath_prepend(str(project_root / "scripts"))
    from bench import __main__, measure, report

    return __main__, measure, report


def _rows(measure, ratios):
    """A row for each workload, of the processor time that each program takes beside ours."""
    return [
        measure.Row(
            workload,
            {name: measure.Sample(9.0, 2.0 * ratio, 1) for name, ratio in {"ours": 1.0, **of_parts}.items()},
            {},
        )
        for workload, of_parts in ratios.items()
    ]


def test_a_part_that_pays_for_no_workload_is_marked(bench):
    _, measure, report = bench
    alike = {"without a": 1.0, "without b": 1.0, "without c": 1.0}
    ratios = {
        **dict.fromkeys(report.NAMED, alike),
        report.NAMED[0]: {"without a": 1.19, "without b": 1.05, "without c": 3.0},
        report.NAMED[1]: {"without a": 1.1, "without b": 1.2, "without c": 1.0},
    }
    del ratios["load index"]
    rows = _rows(measure, {**ratios, "load index, 100,000 blobs": alike})
    lines = report.parts_table(rows, ["without a", "without b", "without c"]).splitlines()
    assert lines[0] == "| workload | all | without a | without b | without c |"
    assert lines[2:4] == [
        f"| {report.NAMED[0]} | 2.00 s cpu | 1.19 | 1.05 | **3.00** |",
        f"| {report.NAMED[1]} | 2.00 s cpu | 1.10 | **1.20** | 1.00 |",
    ]
    assert lines[-1] == "| pays |  | **no** | yes | yes |"
    assert report.parts_table(rows[1:], ["without a", "without b"]).endswith("| pays |  | not known | yes |\n")


def test_a_part_of_the_workloads_takes_its_rows_places(bench, tmp_path):
    _, measure, report = bench
    names = ["without a"]

    def write(ratios, *, part):
        report.write_parts(_rows(measure, ratios), names, tmp_path, tmp_path, 5, quick=False, part=part)
        lines = (tmp_path / "native-parts.md").read_text().splitlines()
        return [line for line in lines if line.startswith("| ")][2:]

    write({"open": {"without a": 1.5}, "restore": {"without a": 1.0}}, part=False)
    assert write({"open": {"without a": 1.1}, "backup": {"without a": 1.0}}, part=True) == [
        "| open | 2.00 s cpu | 1.10 |",
        "| restore | 2.00 s cpu | 1.00 |",
        "| backup | 2.00 s cpu | 1.00 |",
        "| pays |  | not known |",
    ]
    assert write({"backup": {"without a": 1.3}}, part=False) == ["| backup | 2.00 s cpu | **1.30** |", "| pays |  | yes |"]


def test_every_named_workload_is_one_of_the_bench(bench, tmp_path):
    main, _, report = bench
    options = main.parse(["--leave-one-out", "--quick", "--folder", str(tmp_path)])
    found = [kind for _, kinds in main.Bench(options, []).groups() for kind in kinds]
    assert set(report.NAMED) <= set(found)
    run = main.Bench(options, [])
    assert [kind for kind in found if run.wanted(kind)] == [kind for kind in found if kind in report.NAMED]
    assert run.wanted("load index, 100,000 blobs")
    assert not run.wanted("load index from the cache, 100,000 blobs")


def test_a_run_without_each_part_writes_the_page(project_root, tmp_path):
    command = [sys.executable, "-m", "bench", "--leave-one-out", "--quick", "--rounds", "1", "--only", "open"]
    done = subprocess.run(
        [*command, "--folder", tmp_path / "scratch", "--output", tmp_path / "docs"],
        cwd=project_root / "scripts",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "docs" / "native-parts.md").read_text()
    assert "| workload | all | " + " | ".join(f"without {part}" for part in PARTS) + " |" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| open (cat config) |")]
    assert row.count("|") == len(PARTS) + 3
    assert not (tmp_path / "scratch").exists()
