"""The inputs of an encoder: which modalities are in use."""

from types import SimpleNamespace

from recbole_mm.items.inputs import choose_modalities


def test_what_the_encoder_does_not_read_is_told(caplog):
    reader, content = SimpleNamespace(modalities=("text",)), SimpleNamespace(modalities=("image", "text"))
    with caplog.at_level("INFO", logger="recbole_mm"):
        assert choose_modalities(None, reader, content) == ("text",)
        assert choose_modalities(("text",), reader, content) == ("text",)
    assert [" ".join(line.split()) for line in caplog.messages] == ["modalities text: the encoder reads text, the items have image, text"]
