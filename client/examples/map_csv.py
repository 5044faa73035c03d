"""
Make a picture of each row of a CSV file, four at a time: `python map_csv.py [rows.csv]`.

Run it again after anything: under the same key only what has not succeeded is made.
"""

import sys
from pathlib import Path

from comfysheet import ComfySheet, ComfySheetError, read_csv

HERE = Path(__file__).parent


def main() -> int:
    """Make the pictures; 1 when a row failed."""
    table = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "colours.csv"
    failed = 0
    with ComfySheet() as sheet:
        for done in sheet.map("empty-color", read_csv(table), in_flight=4, key=table.name):
            try:
                [picture] = done.unwrap().save_all("out", prefix=f"{done.index + 1:03d}-")
                print(f"row {done.index + 1}: {picture}")
            except ComfySheetError as error:
                failed += 1
                print(f"row {done.index + 1}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
