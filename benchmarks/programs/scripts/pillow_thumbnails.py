"""Pillow, thumbnails of 32 JPEG files, 28 ms each"""

import random
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps

from benchmarks.programs.measure import measure


def prepare(turn):
    folder = Path(f"photos-{turn}")
    folder.mkdir()
    noise = random.Random(turn)
    for number in range(32):
        small = Image.frombytes("RGB", (32, 24), noise.randbytes(2304))
        small.resize((640, 480)).save(folder / f"{number}.jpg", quality=85)
    return sorted(folder.iterdir())


def thumbnail(path):
    with Image.open(path) as photo:
        sharp = ImageOps.autocontrast(photo).filter(ImageFilter.UnsharpMask())
        sharp.thumbnail((160, 120), Image.Resampling.LANCZOS)
        packed = BytesIO()
        sharp.save(packed, "JPEG", quality=80)
    return packed.getvalue()


def program(map_, paths):
    return [sha256(found).hexdigest() for found in map_(thumbnail, paths)]


if __name__ == "__main__":
    measure(prepare, program)
