"""The tokens of users and items: what a data set's files call them, by RecBole's internal id. Works for RecBole's own data sets too."""


def item_tokens(dataset) -> list[str]:
    """The token of every item by its internal id; the first is RecBole's padding, "[PAD]"."""
    return _tokens(dataset, dataset.iid_field)


def user_tokens(dataset) -> list[str]:
    """The token of every user by its internal id; the first is RecBole's padding, "[PAD]"."""
    return _tokens(dataset, dataset.uid_field)


def _tokens(dataset, field: str) -> list[str]:
    return [str(token) for token in dataset.field2id_token[field]]
