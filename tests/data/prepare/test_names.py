"""Columns are recognised by many names; the summary says which were used and which were not."""

import pytest

from recbole_mm.data.prepare.columns import candidates, find_column
from recbole_mm.data.prepare.names import rank
from recbole_mm.errors import InputError
from tests.data.prepare.tables import Prepared, rows

KNOWN = {
    "user": """user_id userId UserID uid customer customer_id CustomerID customer_email visitorid reviewerID member_id account_id buyer
        clientId order_customer_id Kundennummer kunden_id id_client usuario Käufer e-mail""",
    "item": """item_id itemId product product_id ProductID article_id asin parent_asin sku stock_code movieId Artikelnummer Produkt-ID
        id_produit code_article isbn lineitem_sku variant_sku handle""",
    "time": """timestamp t_dat event_time order_date OrderDate created_at InvoiceDate unixReviewTime order_purchase_timestamp Bestelldatum
        fecha date""",
    "rating": "rating ratings stars star_rating review_score overall score Bewertung puntuación",
    "image": """image img photo image_url imageUrl image_1 picture_path product_image main_image imUrl poster_path thumbnail file Bild
        foto images""",
    "text": """title name prod_name product_name product_title item_name detail_desc description product_description short_description
        Titel Bezeichnung Beschreibung titre libellé nombre descripción body summary overview""",
}
UNKNOWN = {
    "user": "order_id session_count quantity country customer_since user_agent",
    "item": "order_id line_number price item_count product_type",
    "time": "birth_date delivery_date time_zone lifetime",
    "rating": "average_rating rating_count quantity price",
    "image": "image_alt_text image_position image_count imagination",
    "text": "product_group_name customer_name colour_name index_code price",
}


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in KNOWN.items() for name in names.split()])
def test_known_names(role, name):
    assert rank(role, name) is not None
    assert rank(role, name.upper().replace("_", " ")) is not None


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in UNKNOWN.items() for name in names.split()])
def test_names_of_other_things(role, name):
    assert rank(role, name) is None


@pytest.mark.parametrize(
    ("role", "columns", "chosen"),
    [
        ("user", ["customer_email", "customer_id"], "customer_id"),
        ("item", ["asin", "parent_asin"], "parent_asin"),
        ("item", ["sku", "product_id", "order_item_id"], "product_id"),
        ("time", ["created_at", "order_date", "date"], "order_date"),
        ("image", ["image_url", "thumbnail_url", "image_path", "Variant Image"], "image_path"),
        ("image", ["Variant Image", "Image Src", "image_2"], "Image Src"),
        ("rating", ["stars", "rating"], "rating"),
    ],
)
def test_of_several_the_best_is_taken(tmp_path, role, columns, chosen):
    assert find_column(role, columns, tmp_path, None, None) == chosen


@pytest.mark.parametrize(("role", "columns"), [("user", ["user_id", "customer_id"]), ("item", ["product", "sku"])])
def test_equally_good_ones_are_a_question(tmp_path, role, columns):
    with pytest.raises(InputError, match=f"{', '.join(columns)}; say which with --{role}-column"):
        find_column(role, columns, tmp_path, None, None)


def test_texts_keep_their_order():
    assert candidates("text", ["detail_desc", "brand", "prod_name", "Title"]) == ["Title", "prod_name", "detail_desc"]


def test_what_was_decided_is_said(tmp_path):
    orders = rows("customer_email,customer_id,product_id,created_at,order_date", "a@x,c1,p1,2024-01-02,2024-01-01")
    products = rows("product_id,sku,title,image_url,image", "p1,s1,Name,https://x/a.jpg,a.jpg")
    tables = Prepared(tmp_path, orders, products).make().summary.tables
    assert tables[0].said == {"user": "rather than customer_email", "time": "dates; rather than created_at"}
    assert tables[1].said == {"item": "rather than sku", "picture": "rather than image_url"}


def test_what_was_used_and_what_was_not(tmp_path):
    orders = rows("t_dat,customer_id,article_id,price", *(f"2024-03-{d:02},c{d % 3},010{d % 5},9.5" for d in range(1, 20)))
    products = rows("article_id,prod_name,detail_desc,colour", *(f"010{n},Name {n},Long {n},red" for n in range(5)))
    found = Prepared(tmp_path, orders, products).make()
    assert found.use(0) == ({"user": "customer_id", "item": "article_id", "time": "t_dat"}, ["price"])
    assert found.use(1) == ({"item": "article_id", "title": "prod_name", "description": "detail_desc"}, ["colour"])
    assert found.titles == {f"010{n}": f"Name {n}" for n in range(5)}
