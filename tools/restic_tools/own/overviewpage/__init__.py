"""The page of ``overview --html``: what a repository holds, to be read, printed and shown to others.

Needs the extra ``html``.
"""

from __future__ import annotations

from restic_format.explore.overview.records import Overview
from restic_tools.htmlpage import Report, render
from restic_tools.own.overviewpage.first import lead, notices, tiles
from restic_tools.own.overviewpage.sections import sections
from restic_tools.own.overviewpage.texts import when, zone


def page(overview: Overview) -> str:
    """The whole page as HTML: one file that opens offline, encodable as UTF-8."""
    footer = f"Made by restic-format at {when(overview.made)}. Times are in {zone()}. 1 KiB is 1024 bytes."
    return render(
        Report(
            title=f"Repository {overview.repository.id[:10]}",
            lead=lead(overview),
            notices=notices(overview),
            tiles=tiles(overview),
            sections=sections(overview),
            footer=footer,
        )
    )
