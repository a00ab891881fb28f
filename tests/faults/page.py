"""Write the table of faults into docs/faults.md: `python tests/faults/page.py`."""

from pathlib import Path

from table import EXECUTORS, FAULTS, HANGS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- {}: begin -->\n", "<!-- {}: end -->\n"
TABLES = {"faults": FAULTS, "hangs": HANGS}


def table_of(faults):
    """Return a table with one row for each of *faults*, and one column for each executor."""
    head = ["What happens when a task ...", *(f'`"{name}"`' for name in EXECUTORS)]
    rows = [head, ["---"] * len(head)]
    rows += [[fault.title, *map(fault.cell, EXECUTORS)] for fault in faults.values()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def page_from(text):
    """Return the page in *text* with the tables as they are now."""
    for name, faults in TABLES.items():
        before, rest = text.split(BEGIN.format(name))
        _, after = rest.split(END.format(name))
        text = f"{before}{BEGIN.format(name)}\n{table_of(faults)}\n{END.format(name)}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page_from(PAGE.read_text("utf-8")), "utf-8")
