"""The tables of docs/results.md, from what stands in conf/row: prints them, or puts them into the file.

python scripts/results_tables.py [--write]
"""

import argparse
from pathlib import Path

from midifactory import files
from midifactory.cli.rows import markdown, read_rows

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results.md"
BEGIN, END = "<!-- rows -->", "<!-- end of rows -->"


def main() -> None:
    """Print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into docs/results.md, between its two marks")
    tables = markdown(read_rows())
    if parser.parse_args().write:
        files.write_text(RESULTS, with_tables(RESULTS.read_text(encoding="utf-8"), tables))
    else:
        print(tables)


def with_tables(text: str, tables: str) -> str:
    """docs/results.md with these tables between its marks. Raises ValueError where it has none."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


if __name__ == "__main__":
    main()
