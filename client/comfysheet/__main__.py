"""Be the command line: `python -m comfysheet`."""

import sys

from comfysheet.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
