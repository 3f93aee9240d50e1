"""Keeps the tests of an `xdist_group` in one worker.

pytest-xdist 3.8 writes the group behind a test's id for its scheduler to find, in an attribute that pytest 9.2 no
longer reads, so that groups were spread over all workers. This does it again where pytest now looks; once a
pytest-xdist that knows how is in use, it finds nothing to do.
"""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Write the group behind the id, in workers that are scheduled by group."""
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        names = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
        suffix = "@" + "_".join(names)
        if names and not item.nodeid.endswith(suffix):
            item._id = type(item.id).parse(item.nodeid + suffix)
