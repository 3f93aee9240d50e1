"""People, their roles, and what a role allows where."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, get_args

from kemudi.schema.manifest import Role, RoleGrant

ORDER: Final[tuple[Role, ...]] = get_args(Role)
"""From the role that may least to the one that may all."""

OWNER: Final = (RoleGrant("owner", "admin"),)
"""What the owner of the machine has, who came by a one-time link."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is, as the sign-in says it; the author of their commits.

    Attributes:
        login: Their unique name at the place where they signed in.
        name: For people.
        email: For the commit.
        groups: What the identity provider or the proxy says they belong to.
    """

    login: str
    name: str
    email: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was let in, for the length of one request.

    Attributes:
        person: Who it is.
        grants: What they were given; the roles file of the served branch is read for every request.
        via: How they proved it: `session`, `token` or `proxy`.
        session: The session's id, empty without one.
    """

    person: Person
    grants: tuple[RoleGrant, ...]
    via: str
    session: str = ""

    def role(self, env: str, category: str | None = None) -> Role | None:
        """The highest role for a category of an environment; with None, for the environment as a whole."""
        fitting = [grant.role for grant in self.grants if _covers(grant, env, category)]
        return max(fitting, key=ORDER.index, default=None)

    def highest(self, env: str) -> Role | None:
        """The highest role for anything in an environment."""
        fitting = [g.role for g in self.grants if not g.environments or env in g.environments]
        return max(fitting, key=ORDER.index, default=None)

    def may(self, role: Role, env: str, category: str | None = None) -> bool:
        """Whether the role there is at least this one."""
        return at_least(self.role(env, category), role)

    def sees(self, env: str) -> bool:
        """Whether anything of an environment is shown."""
        return self.highest(env) is not None


def at_least(role: Role | None, wanted: Role) -> bool:
    """Whether one role allows what another one does."""
    return role is not None and ORDER.index(role) >= ORDER.index(wanted)


def grants_of(person: Person, roles: Iterable[RoleGrant]) -> tuple[RoleGrant, ...]:
    """The lines of the roles file that are about somebody: by login, by e-mail address, or as `group:NAME`."""
    names = {person.login.casefold(), person.email.casefold()} | {
        f"group:{group}".casefold() for group in person.groups
    }
    return tuple(grant for grant in roles if grant.who.casefold() in names)


def holders(roles: Iterable[RoleGrant], wanted: Role, env: str, category: str | None) -> tuple[str, ...]:
    """Who has a role somewhere, for the sentence that tells somebody whom to ask."""
    return tuple(
        dict.fromkeys(
            grant.who for grant in roles if at_least(grant.role, wanted) and _covers(grant, env, category)
        )
    )


def _covers(grant: RoleGrant, env: str, category: str | None) -> bool:
    if grant.environments and env not in grant.environments:
        return False
    return not grant.categories or (category is not None and category in grant.categories)
