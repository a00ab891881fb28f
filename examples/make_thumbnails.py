"""Make thumbnails of a folder of photographs with Pillow, in a loop and with pmap.

Each photograph is turned upright, sharpened, and saved in three sizes for a web page. One file is
cut off in the middle, as happens: it comes back as a Failure, and the others are done. Both runs
must write the same files, byte for byte.

    pip install pillow
    python examples/make_thumbnails.py
"""

import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps

from parmap import Failure, pmap

PHOTOGRAPHS = 14
SIZES = (720, 360, 160)
TURNED = 6  # how Exif says: turn it by a quarter


def take_photographs(folder: Path) -> list[Path]:
    """Write the photographs: coloured clouds, every fourth of them lying on its side."""
    noise = random.Random(5)
    for number in range(PHOTOGRAPHS):
        clouds = Image.frombytes("RGB", (24, 16), noise.randbytes(24 * 16 * 3))
        exif = Image.Exif()
        if number % 4 == 0:
            exif[0x0112] = TURNED
        clouds.resize((1800, 1200)).save(folder / f"{number:02}.jpg", quality=90, exif=exif)
    broken = folder / "12.jpg"
    broken.write_bytes(broken.read_bytes()[:20_000])
    return sorted(folder.iterdir())


def thumbnails(photograph: Path, folder: Path) -> int:
    """Write the thumbnails of a photograph into *folder*, and return their size in bytes."""
    written = 0
    with Image.open(photograph) as image:
        image.draft("RGB", (SIZES[0], SIZES[0]))  # decode no more than is needed
        upright = ImageOps.exif_transpose(image)
    for size in SIZES:
        small = upright.copy()
        small.thumbnail((size, size), Image.Resampling.LANCZOS)
        file = folder / f"{photograph.stem}-{size}.webp"
        small.filter(ImageFilter.UnsharpMask(2)).save(file, quality=80)
        written += file.stat().st_size
    return written


def thumbnails_or_error(photograph: Path, folder: Path) -> int | Exception:
    """Do in a loop what ``on_error="return"`` does in a map."""
    try:
        return thumbnails(photograph, folder)
    except Exception as error:
        return error


def main() -> int:
    """Make all thumbnails twice, print what failed, and return 1 if the files differ."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, name) for name in ("photographs", "serial", "parallel")]
        for folder in folders:
            folder.mkdir()
        photographs, one, other = folders
        paths = take_photographs(photographs)
        print(f"{len(paths)} photographs, {sum(p.stat().st_size for p in paths) / 1e6:.1f} MB")

        start = time.perf_counter()
        expected = [thumbnails_or_error(path, one) for path in paths]
        serial = time.perf_counter() - start

        start = time.perf_counter()
        sizes = pmap(partial(thumbnails, folder=other), paths, on_error="return")
        parallel = time.perf_counter() - start

        for path, size in zip(paths, sizes, strict=True):
            if isinstance(size, Failure):
                print(f"  {path.name}: {size.exception}")
        files = {path.name: path.read_bytes() for path in other.iterdir()}
        print(f"{len(files)} thumbnails, {sum(map(len, files.values())) / 1e3:.0f} kB")

        identical = files == {path.name: path.read_bytes() for path in one.iterdir()} and [
            str(size.exception) if isinstance(size, Failure) else size for size in sizes
        ] == [str(size) if isinstance(size, Exception) else size for size in expected]
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
