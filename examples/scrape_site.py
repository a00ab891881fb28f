"""Scrape a site politely: a few requests at a time, with timeouts and retries.

The site is a server of this program on 127.0.0.1. Each page takes it a moment; two keep silent and
two are overloaded when they are asked first, one is always broken, and one does not exist. At most
eight requests run at the same time. A page that does not exist is an answer, so it is not asked
for again; all else that fails is, twice. The loop, with retries by hand, and pmap must agree on
every page.

    python examples/scrape_site.py
"""

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import urlopen

from parmap import Failure, pmap

PAGES, SLOW, OVERLOADED, BROKEN, MISSING = 40, (7, 31), (12, 28), 23, 35
TIMEOUT = 1.0  # seconds without a byte
RETRIES = 2


@contextmanager
def site() -> Iterator[str]:
    """Serve the pages until the block ends; the value is the address."""
    asked: Counter[int] = Counter()
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = int(self.path.rpartition("/")[2])
            asked[page] += 1
            first = asked[page] == 1
            closing.wait(10 * TIMEOUT if page in SLOW and first else 0.03)
            if page == MISSING:
                self.send_error(404)
            elif page == BROKEN or (page in OVERLOADED and first):
                self.send_error(503)
            elif not closing.is_set():
                text = f"<title>Page {page}</title><p>{'word ' * (page + 1)}</p>".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            closing.set()
            server.shutdown()
            thread.join()


def fetch(address: str) -> str:
    """Return the title and the length of a page, or that there is none."""
    try:
        with urlopen(address, timeout=TIMEOUT) as reply:
            text = reply.read().decode()
    except HTTPError as error:
        with error:
            if error.code == 404:
                return "not found"
            raise
    title = re.search("<title>(.*)</title>", text)
    return f"{title[1] if title else '?'}, {text.count('word')} words"


def fetch_again(address: str) -> str | Exception:
    """Do in a loop what ``retries=`` and ``on_error="return"`` do in a map."""
    for attempt in range(1 + RETRIES):
        try:
            return fetch(address)
        except Exception as error:
            if attempt == RETRIES:
                return error
    raise AssertionError


def main() -> int:
    """Scrape the site twice, print what failed, and return 1 if the pages differ."""
    with site() as address:
        start = time.perf_counter()
        expected = [fetch_again(f"{address}/{page}") for page in range(PAGES)]
        serial = time.perf_counter() - start

    with site() as address:
        start = time.perf_counter()
        pages = pmap(
            fetch,
            [f"{address}/{page}" for page in range(PAGES)],
            executor="threads",
            workers=8,
            retries=RETRIES,
            on_error="return",
        )
        parallel = time.perf_counter() - start

    print(f"{PAGES} pages, {pages.count('not found')} not found")
    for page in pages:
        if isinstance(page, Failure):
            print(f"  {page.input}: {page.exception}, {page.attempts} attempts")

    identical = [str(page.exception) if isinstance(page, Failure) else page for page in pages] == [
        str(page) for page in expected
    ]
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
