"""The examples of overviews: they agree in themselves, so that whoever shows them is tested with what can be."""

from __future__ import annotations

from restic_format.explore.overview.records import MOST_PROBLEMS
from tests.explore.overviews import empty_overview, example_overview


def test_example_agrees_in_itself() -> None:
    """Everything added is what is needed, and the authors' snapshots are all."""
    made = example_overview(snapshots=40)
    assert sum(one.added for one in made.snapshots) == made.space.needed
    for authors in (made.programs, made.hosts, made.users):
        assert sum(one.snapshots for one in authors) == len(made.snapshots)
        assert sum(one.added for one in authors) == made.space.needed
    assert [one.time for one in made.snapshots] == sorted(one.time for one in made.snapshots)
    assert made.space.compression_ratio == 2
    assert made.complete
    assert not example_overview(problems=3).complete
    assert MOST_PROBLEMS >= 3


def test_nothing_is_no_division_by_zero() -> None:
    """Ratios of an empty repository are 0."""
    space = empty_overview().space
    assert (space.compression_ratio, space.dedup_ratio, space.total_ratio) == (0, 0, 0)
