"""Have one picture made and save it: `python hello.py`."""

from comfysheet import ComfySheet, ComfySheetError


def main() -> int:
    """Make the picture; the exit code."""
    try:
        with ComfySheet() as sheet:  # COMFYSHEET_URL and COMFYSHEET_KEY
            result = sheet.run("empty-color", color="#ff6347", width=256, height=256)
            print(f"saved {result.outputs[0].save('hello.png', overwrite=True)}")
    except ComfySheetError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
