"""Pictures that come as bytes from outside."""

import binascii
from base64 import b64decode
from io import BytesIO

from PIL import Image

from recbole_mm.data.image import BrokenImage, load_image
from recbole_mm.errors import InputError
from recbole_mm.serving.service.bounds import MAX_PICTURE, MAX_PIXELS

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow's readers that are let at bytes from outside."""


def read_picture(data: bytes) -> Image.Image:
    """Decodes a picture.

    Raises:
        InputError: it is no picture, damaged, or has too many pixels, which is checked before it is decoded.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as header:
            width, height = header.size
    except Image.DecompressionBombError as error:
        raise InputError("the picture has too many pixels") from error
    except Exception as error:  # Pillow's format plugins raise almost anything on damaged bytes
        raise InputError(f"the picture is none in a known format: {', '.join(FORMATS)}") from error
    if width * height > MAX_PIXELS:
        raise InputError(f"the picture has {width} x {height} pixels, and may have {MAX_PIXELS}")
    try:
        return load_image(BytesIO(data))
    except BrokenImage as error:
        raise InputError(f"the picture cannot be read ({error})") from error


def picture_of_base64(text: object, item: str) -> Image.Image | None:
    """Decodes the picture of a new item; None where there is none.

    Raises:
        InputError: it is no picture in base64. A path is none.
    """
    if text is None or text == "":
        return None
    try:
        data = b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InputError(f"item '{item}': its picture must be in base64; paths are not taken") from error
    if len(data) > MAX_PICTURE:
        raise InputError(f"item '{item}': its picture is longer than {MAX_PICTURE} bytes")
    try:
        return read_picture(data)
    except InputError as error:
        raise InputError(f"item '{item}': {error}") from error
