"""The keys that a recommender's class declares, with those of its base classes."""

from collections.abc import Mapping

from recbole_mm.config.kinds import ANY, Key, choice


def declared_keys(model_class: type) -> dict[str, Key]:
    """The keys of a recommender of ours or of a user's, base classes first; a class may declare a key of its bases anew."""
    found: dict[str, Key] = {}
    for parent in reversed(model_class.__mro__):
        found |= vars(parent).get("keys", {})
        found |= _declared_without_kind(parent, found)
    return found


def _declared_without_kind(model_class: type, inherited: Mapping[str, Key]) -> dict[str, Key]:
    """What a class gives defaults for alone (``default_settings``), or, as classes did before there was ``keys``, lists the values of
    (``choices``, ``{key: values}``)."""
    defaults, choices = (vars(model_class).get(name, {}) for name in ("default_settings", "choices"))
    found = {}
    for name in (*defaults, *choices):
        base = inherited.get(name, Key(None, ANY, ""))
        kind = choice(*choices[name]) if name in choices else base.kind
        found[name] = Key(defaults.get(name, base.default), kind, base.help, base.belongs_to, base.may_be_empty)
    return found
