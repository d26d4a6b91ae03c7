"""The tokens of users and items: what a data set's files call them, by RecBole's internal id. Works for RecBole's own data sets too."""


def item_tokens(dataset) -> list[str]:
    """The token of every item by its internal id; the first is RecBole's padding, "[PAD]"."""
    return _tokens(dataset, dataset.iid_field)


def user_tokens(dataset) -> list[str]:
    """The token of every user by its internal id; the first is RecBole's padding, "[PAD]"."""
    return _tokens(dataset, dataset.uid_field)


def vocabularies(dataset) -> dict[str, list[str]]:
    """The tokens of every field that has some by internal id, without the padding. Of the fields that share a vocabulary, one is named."""
    fields: dict[int, str] = {}
    for field, tokens in dataset.field2id_token.items():
        fields.setdefault(id(tokens), str(field))
    return {field: _tokens(dataset, field)[1:] for field in fields.values()}


def _tokens(dataset, field: str) -> list[str]:
    return [str(token) for token in dataset.field2id_token[field]]
