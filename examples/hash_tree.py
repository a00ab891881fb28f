"""Hash a tree of files and find what is in it twice, in a loop and with pmap.

An archive wants four checksums of every file, as packages for the long term have them: MD5 and
SHA-1 for old catalogues, SHA-256 and SHA-512 to be sure. What has the same SHA-512 is a duplicate.
The loop and pmap must write the same manifest.

    python examples/hash_tree.py
"""

import hashlib
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from parmap import pmap

FOLDERS, FILES = 12, 100
BLOCK = 1 << 18


class Entry(NamedTuple):
    """A line of the manifest."""

    path: str
    size: int
    md5: str
    sha1: str
    sha256: str
    sha512: str


def plant(root: Path) -> None:
    """Write the tree: files of 1 kB to 1 MB, most of them small, some of them copies."""
    chance = random.Random(3)
    ground = chance.randbytes(1 << 20)
    for folder in range(FOLDERS):
        branch = root / f"{folder % 4}" / f"{folder:02}"
        branch.mkdir(parents=True)
        for file in range(FILES):
            size = int(1000 * 1000 ** chance.random())
            begin = chance.randrange(len(ground) - size) if file % 10 else 0
            content = ground[begin : begin + size] if file % 10 else ground[: 100_000 + file]
            (branch / f"{file:02}.dat").write_bytes(content)


def entry(path: Path) -> Entry:
    """Read a file once and compute its checksums."""
    checksums = [hashlib.new(name) for name in ("md5", "sha1", "sha256", "sha512")]
    size = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            size += len(block)
            for checksum in checksums:
                checksum.update(block)
    return Entry(str(path), size, *(checksum.hexdigest() for checksum in checksums))


def main() -> int:
    """Hash the tree twice, print what is double, and return 1 if the two manifests differ."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        plant(root)
        paths = sorted(path for path in root.rglob("*") if path.is_file())

        start = time.perf_counter()
        expected = [entry(path) for path in paths]
        serial = time.perf_counter() - start

        start = time.perf_counter()
        manifest = pmap(entry, paths)
        parallel = time.perf_counter() - start

    print(f"{len(manifest)} files, {sum(line.size for line in manifest) / 1e6:.0f} MB")
    same: dict[str, list[Entry]] = defaultdict(list)
    for line in manifest:
        same[line.sha512].append(line)
    copies = [lines for lines in same.values() if len(lines) > 1]
    wasted = sum(line.size for lines in copies for line in lines[1:])
    print(f"{len(copies)} contents are there more than once, which wastes {wasted / 1e6:.1f} MB:")
    for lines in sorted(copies, key=len, reverse=True)[:3]:
        first = Path(lines[0].path).relative_to(root)
        print(f"  {first} and {len(lines) - 1} others, sha256 {lines[0].sha256[:16]}...")

    identical = manifest == expected
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
