"""What the texts of a shop become on their way to an encoder."""

import pytest
import torch

from recbole_mm.data.text import join_fields
from tests.contract.conftest import READ_TEXTS


@pytest.mark.parametrize("kind", READ_TEXTS)
def test_entities_give_the_words_they_stand_for(encoder):
    plain = "Women's & Men’s T-shirt, size <3 & é. 5 > 4"
    escaped = ["Women&#39;s &amp; Men&rsquo;s T-shirt, size &lt;3 &amp;amp; &eacute;", "5 &gt; 4"]
    assert join_fields(escaped) == plain
    assert torch.equal(encoder.tokenize([join_fields(escaped)]), encoder.tokenize([plain]))
