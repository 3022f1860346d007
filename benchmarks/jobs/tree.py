"""Make a folder of files: tree.py FOLDER FILES BYTES. A process of its own, so that the measuring one stays small."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from trees import make_tree

make_tree(Path(sys.argv[1]), int(sys.argv[2]), size=int(sys.argv[3]))
