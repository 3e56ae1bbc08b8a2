"""The kinds of damage. Each is applied with a seed: on the same repository the same seed changes the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from restic_conformance.zoo import recipes_files, recipes_index, recipes_packs, recipes_several
from restic_conformance.zoo.change import Change
from restic_conformance.zoo.site import Site

Make = Callable[[Site, random.Random], Change | None]


@dataclass(frozen=True)
class Recipe:
    """A kind of damage."""

    name: str
    group: str
    what: str
    """What is wrong afterwards, in words."""
    make: Make
    """None where the repository has nothing this could be done to."""

    def change(self, site: Site, seed: int) -> Change | None:
        """The damage to *site* with this seed."""
        return self.make(site, random.Random(f"{self.name} {seed}"))


def _recipes(group: str, made: Iterable[tuple[str, str, Make]]) -> list[Recipe]:
    return [Recipe(name, group, what, make) for name, what, make in made]


RECIPES: tuple[Recipe, ...] = (
    *_recipes("files", recipes_files.made()),
    *_recipes("index", recipes_index.made()),
    *_recipes("packs", recipes_packs.made()),
    *_recipes("several", recipes_several.made()),
)
"""Every kind."""


def recipe(name: str) -> Recipe:
    """The kind of that name. Raises :class:`KeyError`."""
    return {one.name: one for one in RECIPES}[name]
