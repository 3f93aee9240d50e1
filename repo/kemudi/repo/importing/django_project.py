"""The settings of a Django project as its own Python sees them: for what only running the module can tell."""

import contextlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Final

from kemudi.repo.importing.django_settings import STRUCTURE, django_setting
from kemudi.repo.importing.found import Found, Gathered, Left
from kemudi.repo.importing.naming import is_wanted
from kemudi.schema.documents import JSON
from kemudi.schema.errors import UsageError

_TIME_LIMIT_SECONDS: Final = 60
# Runs in the project's Python, which may be older than ours and has none of our packages. The answer goes out by a
# descriptor of its own: a settings module may print.
_PROGRAM: Final = """
import datetime, decimal, importlib, json, os, pathlib, sys
def plain(value, depth=0):
    if depth > 20: raise TypeError
    if value is None or isinstance(value, (bool, int, float)): return value
    if isinstance(value, str): return str(value)
    if isinstance(value, pathlib.PurePath): return str(value)
    if isinstance(value, datetime.timedelta): return value.total_seconds()
    if isinstance(value, decimal.Decimal): return float(value)
    if isinstance(value, (list, tuple)): return [plain(each, depth + 1) for each in value]
    if isinstance(value, (set, frozenset)): return sorted((plain(each, depth + 1) for each in value), key=repr)
    if isinstance(value, dict): return {str(k): plain(v, depth + 1) for k, v in value.items()}
    if type(value).__name__ == "__proxy__": return str(value)
    raise TypeError
sys.path.insert(0, os.getcwd())
module = importlib.import_module(sys.argv[1])
values, left = {}, {}
for name in dir(module):
    if name.isupper():
        try:
            values[name] = plain(getattr(module, name))
        except Exception:
            left[name] = type(getattr(module, name)).__name__
with os.fdopen(int(sys.argv[2]), "w") as out:
    json.dump([values, left], out)
"""


def execute_django_settings(module: str, project: Path, python: str, only: tuple[str, ...] = ()) -> Gathered:
    """Import a settings module in a child process and take what it then holds.

    Args:
        module: Its dotted name, `site.settings`.
        project: The folder of manage.py; the child works there.
        python: The project's own Python.
        only: Patterns of names; without any, all but what is a program's shape.

    Raises UsageError when the module cannot be imported. What the child printed is not shown: it may hold a secret.
    """
    values, odd = _ask(module, project, python)
    settings: list[Found] = []
    left = [Left(name, f"it is a {kind}") for name, kind in odd.items() if is_wanted(name, only, STRUCTURE)]
    for name, value in values.items():
        if not is_wanted(name, only, STRUCTURE):
            continue
        if value is None:
            left.append(Left(name, f"{module} says no value"))
        else:
            settings.append(django_setting(name, value, "", module))
    return Gathered(module, tuple(settings), left=tuple(left))


def _ask(module: str, project: Path, python: str) -> tuple[dict[str, JSON], dict[str, str]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as answer:
        try:
            with subprocess.Popen(
                [python, "-c", _PROGRAM, module, str(writing)],
                cwd=project,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(writing,),
            ) as child:
                os.close(writing)
                timer = threading.Timer(_TIME_LIMIT_SECONDS, child.kill)
                timer.start()
                try:
                    data = answer.read()
                finally:
                    timer.cancel()
        except OSError as error:
            with contextlib.suppress(OSError):
                os.close(writing)
            raise UsageError(f"{python} cannot be started: {error.strerror}") from None
    if child.returncode or not data:
        raise UsageError(
            f"{python} could not import {module} in {project}",
            hint=f"See why: cd {project} && {python} -c 'import {module}'",
        )
    values, odd = json.loads(data)
    return values, odd
