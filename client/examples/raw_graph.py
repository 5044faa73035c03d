"""
Run a graph that is in no catalog, as ComfyUI's "Export (API)" writes it: `python raw_graph.py [graph.json]`.

The key needs the scope "raw".
"""

import json
import sys
from pathlib import Path
from typing import Any

from comfysheet import ComfySheet, ComfySheetError

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 128, "height": 128, "batch_size": 1, "color": 0x1E88E5}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
}


def main() -> int:
    """Run the graph; the exit code."""
    graph = json.loads(Path(sys.argv[1]).read_text("utf-8")) if len(sys.argv) > 1 else GRAPH
    try:
        with ComfySheet() as sheet:
            for path in sheet.run_graph(graph).save_all("out"):
                print(path)
    except ComfySheetError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
