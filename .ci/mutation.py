"""Changes the named modules in one place at a time and counts which changes the tests notice.

Called by `make mutation`, in the root of the project. The modules and the tests that are run on
their changes stand in pyproject.toml, [tool.mutmut]. mutmut changes functions only: constants of
modules are held by tests against literal values instead.
"""

from __future__ import annotations

import collections
import json
import shutil
import subprocess
import sys
from pathlib import Path

LEAST_SCORE = 0.85
_MUTANTS = Path("mutants")
# What mutmut stores for a change that was noticed: pytest's exit status for failed tests or an
# internal error, or a timeout, by mutmut's watch (36) or by SIGXCPU, since tests pass within it.
_NOTICED = frozenset({1, 3, 36, 24, -24, 152})


def main() -> int:
    """Returns 0 if the tests notice `LEAST_SCORE` of the changes of every module, else 1."""
    shutil.rmtree(_MUTANTS, ignore_errors=True)
    mutmut = Path(sys.executable).with_name("mutmut")
    status = subprocess.run([str(mutmut), "run"], check=False).returncode
    files = sorted(_MUTANTS.rglob("*.py.meta"))
    if status or not files:
        print(f"error: `mutmut run` ended with status {status}; see its messages above")
        return 1
    total: collections.Counter[bool] = collections.Counter()
    too_low = []
    for file in files:
        outcomes = json.loads(file.read_text())["exit_code_by_key"]
        noticed = collections.Counter(code in _NOTICED for code in outcomes.values())
        total.update(noticed)
        module = str(file.relative_to(_MUTANTS).with_suffix(""))
        print(_line(module, noticed))
        if _score(noticed) < LEAST_SCORE:
            too_low.append(module)
        for name, code in outcomes.items():
            if code not in _NOTICED:
                print(f"    survived: mutmut show {name}")
    print(_line("total", total))
    for module in too_low:
        print(f"error: {module}: less than {LEAST_SCORE:.0%} of its changes were noticed")
    return 1 if too_low else 0


def _score(noticed: collections.Counter[bool]) -> float:
    return noticed[True] / max(1, sum(noticed.values()))


def _line(name: str, noticed: collections.Counter[bool]) -> str:
    return f"{name:<44} {noticed[True]:>5} of {sum(noticed.values()):<5} {_score(noticed):.1%}"


if __name__ == "__main__":
    sys.exit(main())
