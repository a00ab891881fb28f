"""What holds for every page of the documentation, whatever it is about."""

import inspect
import re
from multiprocessing.pool import Pool

import pytest
from documents import DOCS, PAGES, ROOT, prose_of, words_in

import parmap
from parmap import aio
from parmap._choice.options import DEFAULTS

OPENING = 25  # words
LONGEST = 15  # minutes
PACE = 200  # words a minute
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^]]+\]: (\S+)$", re.MULTILINE)
SNIPPET = re.compile(r'^--8<-- "([^":]+)(?::(\w+))?"$', re.MULTILINE)


def text_of(name):
    """Return the page *name* with what it includes."""

    def included(found):
        text = (ROOT / found[1]).read_text("utf-8")
        if found[2]:
            begin, end = (f"<!-- --8<-- [{word}:{found[2]}] -->" for word in ("start", "end"))
            text = text.split(begin)[1].split(end)[0]
        return text

    return SNIPPET.sub(included, (ROOT / name).read_text("utf-8"))


@pytest.mark.parametrize("name", [*PAGES, "CONTRIBUTING.md"])
def test_a_page_opens_with_a_short_paragraph(name):
    """After its title a page says in at most 25 words what it is about."""
    title, opening, *_ = re.split(r"\n\s*\n", prose_of(text_of(name)).strip())

    assert title.startswith("# ")
    assert opening[0].isalpha() or opening[0] in "`*["
    assert 3 < len(words_in(opening)) <= OPENING, opening


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_in_a_quarter_of_an_hour(name):
    """At 200 words of prose a minute, no page takes longer than 15 minutes."""
    assert len(words_in(prose_of(text_of(name)))) <= LONGEST * PACE


def test_the_reference_has_every_public_name():
    """What can be imported from parmap, and from parmap.aio, is in the reference, nothing else."""
    listed = re.findall(r"^::: (\S+)$", (DOCS / "reference.md").read_text("utf-8"), re.MULTILINE)
    public = [f"parmap.{name}" for name in parmap.__all__]

    assert sorted(listed) == sorted([*public, *(f"parmap.aio.{name}" for name in aio.__all__)])


def test_the_reference_has_every_option():
    """The table of options has all of them, in their order, with their defaults."""
    page = (DOCS / "reference.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)` \|", page, re.MULTILINE)

    assert rows == [(name, repr(value)) for name, value in DEFAULTS.items()]


def test_every_method_of_a_pool_has_its_counterpart():
    """Who comes from multiprocessing.Pool finds each of its methods in a heading."""
    page = (DOCS / "coming-from" / "multiprocessing.md").read_text("utf-8")
    headings = " ".join(re.findall(r"^## (.+)$", page, re.MULTILINE))
    methods = {name for name in vars(Pool) if not name.startswith("_")} - {"Process"}

    assert {name for name in methods if f"`{name}`" not in headings} == set()
    assert len(methods) > 9


@pytest.mark.parametrize("thing", [*parmap.__all__, *(f"aio.{name}" for name in aio.__all__)])
def test_every_public_name_has_an_example(thing):
    """The docstring of a public name shows its use, in an example that is run."""
    found = parmap
    for name in thing.split("."):
        found = getattr(found, name)

    assert "Example:\n    >>> " in inspect.getdoc(found)


def anchors_in(text):
    """Return the anchors of the headings of *text*, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(text), re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in words}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_outside_of_the_site_lead_somewhere(name):
    """Links in the pages that the strict build does not see lead to files, and headings in them."""
    for found in LINK.findall((ROOT / name).read_text("utf-8")):
        target, _, anchor = "".join(found).partition("#")
        if "://" not in target:
            file = ROOT / target if target else ROOT / name
            assert file.exists(), target
            assert not anchor or anchor in anchors_in(file.read_text("utf-8")), anchor
