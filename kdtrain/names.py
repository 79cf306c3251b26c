"""Names in a study file are names of files and functions; a wrong one is answered with those that exist."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

_TOLD = 12  # names in a sentence that a person still reads; chosen by hand
_LISTINGS = {  # what lists all names of a kind
    "data set": "kdsweep list data",
    "method": "kdsweep list methods",
    "model": "kdsweep list models",
    "recipe": "kdsweep list recipes",
    "study": "kdsweep list studies",
    "wrapper": "kdsweep list methods",
}


def list_modules(room: str) -> list[str]:
    """Names of the files of a package such as `kdtrain.methods`, sorted, found without importing them."""
    package = importlib.import_module(room)
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__))


def describe_unknown(kind: str, name: str, known: Iterable[str], *, listing: str | None = None) -> str:
    """One sentence that says which `kind` does not exist, the nearest name, and known ones as `suggest` gives them."""
    return f"no {kind} `{name}`.{suggest(name, known, listing=listing or _LISTINGS.get(kind))}"


def suggest(name: str, known: Iterable[str], *, listing: str | None = None) -> str:
    """` Did you mean ...? Known: ...`, to follow a sentence that says that a name does not exist.

    listing: the command that lists all names; with it, where they are many, only those most like `name` are told.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    guess = f" Did you mean `{close[0]}`?" if close else ""
    if listing is None or len(known) <= _TOLD:
        return f"{guess} Known: {', '.join(known)}"
    told = sorted(difflib.get_close_matches(name, known, n=_TOLD, cutoff=0))
    return f"{guess} Known: {', '.join(told)} and {len(known) - _TOLD} more, which `{listing}` lists"


def load_named(kind: str, name: str, *, room: str) -> ModuleType:
    """The file `room`.`name`. Raises ValueError with the known names."""
    known = list_modules(room)
    if name not in known:
        raise ValueError(describe_unknown(kind, name, known))
    return importlib.import_module(f"{room}.{name}")


def load_own(kind: str, name: str) -> object:
    """The object that `package.module:Name` names: a user's own method, model or data set. Raises ValueError."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"no {kind} `{name}`: {error}\n\nhint: is `{module_name}` importable from here?") from error
    if not hasattr(module, attribute):
        raise ValueError(f"no {kind} `{name}`: `{module_name}` has no `{attribute}`")
    return getattr(module, attribute)
