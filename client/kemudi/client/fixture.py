"""The pytest fixture of the testing kit; `kemudi.client.testing` hands it out."""

from typing import Any

import pytest

from kemudi.client.client import Client


@pytest.fixture
def kemudi_config(request: pytest.FixtureRequest) -> Client:
    """An InMemoryClient; what it holds comes from the fixtures `kemudi_values` and `kemudi_contracts`, if there are.

    ::

        @pytest.fixture
        def kemudi_values():
            return {"SYNC_BATCH_SIZE": 10}


        def test_batches(kemudi_config): ...
    """
    from kemudi.client.testing import InMemoryClient  # it imports this module

    return InMemoryClient(_of(request, "kemudi_values"), contracts=_of(request, "kemudi_contracts"))


def _of(request: pytest.FixtureRequest, name: str) -> Any:
    """The value of a fixture, None where nobody defines it."""
    try:
        return request.getfixturevalue(name)
    except pytest.FixtureLookupError as error:
        if error.argname != name:
            raise
        return None
