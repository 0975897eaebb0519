"""`throughtime export`, several times; run in a process of its own, which can be traced.

`python -m tests.commands.exports_alone RUN FOLDER ARGS... -- ARGS...` prints what came of each as a
line of JSON. Each writes to FOLDER/0, FOLDER/1 and so on.
"""

import json
import sys
from dataclasses import asdict
from itertools import groupby

import torch

from tests.commands.conftest import call
from tests.exporting.alone import read_registry_once

if __name__ == "__main__":
    torch.set_num_threads(1)
    read_registry_once()
    run, folder, *rest = sys.argv[1:]
    each = [[*group] for apart, group in groupby(rest, lambda arg: arg == "--") if not apart]
    for at, arguments in enumerate(each):
        outcome = call("export", run, "--out", f"{folder}/{at}", *arguments)
        print(json.dumps(asdict(outcome)), flush=True)
