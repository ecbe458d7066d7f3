"""A program: writers of an audit log that are killed at random points, and a check of what they left.

Each round forks two writers that add to one file and name each entry on a pipe once it was added; the parent
reads some of the names and kills both with SIGKILL. Writes a line of JSON.

    python auditing.py FILE ROUNDS SEED
"""

import itertools
import json
import os
import random
import signal
import sys
from pathlib import Path

from fac_stream.storage.audit import AuditLog, entries, verify

MOST = 30
"""Names that are read in a round at most."""
WRITERS = 2


def write(path, name, pipe):
    """Add entries for ever; each is named once it is on disk."""
    log = AuditLog(path)
    for number in itertools.count():
        log.add("test", name=f"{name}-{number}", filling="x" * (number % 500))
        os.write(pipe, f"{name}-{number}\n".encode())


def one_round(path, prefix, names):
    """Fork writers, kill them after so many names, give all names that they had written."""
    reader, writer = os.pipe()
    children = []
    for number in range(WRITERS):
        child = os.fork()
        if child == 0:
            os.close(reader)
            write(path, f"{prefix}-{number}", writer)
        children.append(child)
    os.close(writer)
    with os.fdopen(reader) as lines:
        added = [line for _, line in zip(range(names), lines, strict=False)]
        for child in children:
            os.kill(child, signal.SIGKILL)
        added += lines
    for child in children:
        os.waitpid(child, 0)
    return [name.strip() for name in added if name.endswith("\n")]


def main(path, rounds, seed):
    """Run all rounds on one file; every other one leaves half a line, as a power cut would."""
    dice = random.Random(seed)
    added, torn = [], 0
    for number in range(rounds):
        added += one_round(path, f"r{number}", dice.randint(1, MOST))
        if number % 2:
            with path.open("ab") as file:
                file.write(b'{"facts":{"half a li')
            torn += 1
    AuditLog(path).add("end")
    found = [entry.facts.get("name") for entry in entries(path)]
    repaired = sum(entry.kind == "log.repaired" for entry in entries(path))
    verdict = verify(path)
    json.dump(
        {
            "added": len(added),
            "lost": sorted(set(added) - set(found)),
            "faults": [fault.what for fault in verdict.faults],
            "repaired": repaired,
            "torn": torn,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
