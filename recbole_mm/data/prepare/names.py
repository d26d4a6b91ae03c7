"""The names that people give to the columns of their tables, and which of several fits a role best."""

import re
import unicodedata
from itertools import product


def plain(column: str) -> str:
    """The name of a column in lower case, without accents and without anything but letters and digits."""
    letters = unicodedata.normalize("NFKD", column.replace("ß", "ss")).lower()
    return "".join(letter for letter in letters if letter.isalnum() and not unicodedata.combining(letter))


def words(column: str) -> list[str]:
    """The words of a name, plain: of ``order_customerId`` order, customer and id."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", column)
    return [word for word in map(plain, re.split(r"[\W_]+", spaced)) if word]


def _joined(starts: str, ends: str) -> list[str]:
    return [start.strip("-") + end.strip("-") for end, start in product(ends.split(), starts.split())]


_USERS = """
user customer client buyer member account visitor reviewer shopper subscriber viewer reader listener player person guest consumer purchaser
profile kunde kunden benutzer nutzer kaufer kaeufer besucher mitglied utilisateur acheteur membre usuario cliente comprador utente gebruiker
klant"""
_ITEMS = """
item product prod article movie film book video track song game recipe artikel produkt produit producto articulo prodotto articolo"""
_WITH_ID = """
artist album music business venue poi hotel course app anime news content document post show listing offer goods material"""
_IDS, _CODES, _BEFORE = "id ids uuid guid key identifier", "no nr num number nummer numero code hash", "id code num numero no ref"
_TIMES = """
timestamp eventtimestamp ts time eventtime unixreviewtime unixtime unixtimestamp epoch datetime eventdatetime ordertimestamp
purchasetimestamp orderpurchasetimestamp orderdatetime ordertime orderdate orderedat orderedon purchasedate purchasetime purchasedat
transactiondate transactiontime tdat invoicedate saledate salesdate paidat reviewtime reviewtimestamp reviewdate ratingdate ratingtime
interactiontime clicktime viewedat watchedat playedat listenedat createdat created createdon createdtime creationdate dateadded addedat
servertime eventdate date bestelldatum kaufdatum datum zeitpunkt zeit zeitstempel bewertungsdatum fechapedido fechacompra fecha datecommande
dateachat dateheure horodatage"""
_RATINGS = """
rating ratings userrating overall stars starrating reviewscore reviewrating score grade bewertung sterne puntuacion valoracion calificacion
notation note voto"""
_PICTURES = "image img picture pic photo thumbnail thumb cover poster bild foto imagen immagine"
_PICTURE_ENDS = "path file filename name - s paths files src url uri link href urls links"
_OTHER_PICTURES = "imurl imageurlhighres filename file filepath bildpfad bilder fotos"
_NAMED = "product item article prod movie book game track song recipe artikel produkt"
_TITLES = "headline displayname label titel bezeichnung titre nom nomproduit libelle titulo nombre nombreproducto subtitle"
_DESCRIPTIONS = """
shortdescription longdescription desc detaildesc details body bodyhtml summary abstract overview plot synopsis content about blurb features
bulletpoints beschreibung kurzbeschreibung langbeschreibung artikelbeschreibung produktbeschreibung descriptif descripcion resumen"""


def _joined(starts: str, ends: str) -> list[str]:
    return [start.strip("-") + end.strip("-") for end, start in product(ends.split(), starts.split())]


RANKS: dict[str, list[list[str]]] = {
    "user": [
        [*_joined(_USERS, _IDS), "uid"],
        [*_joined(_USERS, _CODES), *_joined(_BEFORE, _USERS), "fullvisitorid", "userpseudoid", "authorid", "deviceid", "anonymousid"],
        _USERS.split(),
        [*_joined(_USERS, "email mail emailaddress name login"), "email", "mail", "emailaddress", "login", "nickname"],
        ["sessionid", "session"],
    ],
    "item": [
        [*_joined(_ITEMS + _WITH_ID, _IDS), "iid", "parentasin"],
        [*_joined(_ITEMS, _CODES), *_joined(_BEFORE, _ITEMS), "stockcode", "reference"],
        [*_ITEMS.split(), *_joined(_ITEMS + " lineitem variant -", "sku asin isbn ean"), "isbn13", "gtin", "upc", "barcode"],
        ["handle", "variantid"],
        _joined(_ITEMS + " lineitem", "name title"),
    ],
    "time": [[name] for name in _TIMES.split()],
    "rating": [[name] for name in _RATINGS.split()],
    "image": [[name] for name in [*_joined(_PICTURES, _PICTURE_ENDS), *_OTHER_PICTURES.split()]],
    "text": [
        [name]
        for name in [
            "title", "name", *_joined(_NAMED, "name title bezeichnung"), *_TITLES.split(),
            "description", "text", *_joined(_NAMED, "description desc text"), *_DESCRIPTIONS.split(),
        ]
    ],
}  # fmt: skip
"""By role the names that it may have, in lists of equally good ones, the best first. For texts, this is also the order of the texts."""
_RANK = {role: {name: rank for rank, names in reversed(list(enumerate(ranks))) for name in names} for role, ranks in RANKS.items()}
_PREFIXES = """
order orders o tbl dim fact fk src raw event transaction purchase sale sales lineitem line properties data payload attributes node main
primary featured front default hero variant review the my dataset
product item article prod book movie film game song track video anime recipe ml wc shopify utc unix server"""
PREFIXES = frozenset(_PREFIXES.split())
"""Words before a name that say nothing about its role."""


def rank(role: str, column: str, more: str = "") -> tuple[int, int] | None:
    """How well the name of a column fits a role, the lowest best: how many words before it were left out, and which of its names it is.
    None if it does not fit.

    Args:
        more: another name for the role, the last among those with an id.
    """
    parts = words(column)
    for left_out in range(len(parts)):
        whole = plain(column) if not left_out else "".join(parts[left_out:])
        for name in (whole, re.sub(r"0*1$", "", whole) if role == "image" else whole):
            found = 1 if name == more and not left_out else _RANK[role].get(name)
            if found is not None:
                return left_out, found
        if parts[left_out] not in PREFIXES:
            return None
    return None
