"""Invented texts of kinds that may not have come yet: none may be decided to be what it is not."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files

from training.data.corpus import Example, read_file
from training.recipe import Recipe

INVENTED = "invented"  # their source


def invented(recipe: Recipe) -> list[Example]:
    """Those that ship for models with their labels, as the recipe prepares them; none for others.
    None is learnt."""
    with as_file(files("training") / "invented") as folder:
        found = [read_file(file, recipe.preparation) for file in sorted(folder.glob("*.jsonl"))]
    examples = [example for part in found for example in part]
    theirs = {label for example in examples for label in example.labels}
    fit = recipe.problem == "single_label" and theirs <= set(recipe.labels)
    return [replace(example, source=INVENTED) for example in examples] if fit else []
