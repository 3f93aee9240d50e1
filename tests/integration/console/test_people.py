"""People and roles: what the roles file gives whom, from where they are known, and one's own sessions."""

import re

from kemudi.console.access import accounts
from kemudi.console.access.people import Person
from kemudi.schema.manifest import RoleGrant

PEOPLE = "/e/dev/people"
VIEWER = Person("viewer", "Viewer", "viewer@example.org", ("readers",))
ADMIN = Person("admin", "Admin", "admin@example.org")


def row(page: str, who: str) -> str:
    """The line of somebody, as words."""
    found = re.search(rf"<tr><th scope=\"row\"><strong>{re.escape(who)}</strong>.*?</tr>", page, re.DOTALL)
    assert found, who
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", found[0]))


def test_who_may_do_what(site):
    """By environment and category: the highest role counts once, and groups and local users are told apart."""
    accounts.set_user(
        site.parts.settings.state, Person("local", "Local", "local@example.org"), "a long password"
    )
    site.repo.roles(
        {"who": "local@example.org", "role": "viewer"},
        {"who": "local@example.org", "role": "approver", "categories": ["sync", "neo4j"]},
        {"who": "local@example.org", "role": "editor", "categories": ["sync", "performance"]},
        {"who": "group:operators", "role": "admin", "environments": ["prod"]},
        {"who": "group:readers", "role": "viewer", "environments": ["dev"]},
        {"who": "somebody@example.org", "role": "editor", "environments": ["dev"], "categories": ["sync"]},
    )
    site.refresh()
    page = site.sign_in().get(PEOPLE).text
    local = row(page, "local@example.org")
    for said in ("viewer all categories", "approver neo4j and sync", "editor performance", "local user"):
        assert said in local, said
    assert "group" in row(page, "readers")
    assert "editor sync" in row(page, "somebody@example.org")
    assert "<strong>operators</strong>" not in page
    assert "admin all categories" in row(site.sign_in().get("/e/prod/people").text, "operators")


def test_what_belongs_to_the_machine_is_for_admins(site):
    """Local users and tokens are shown to admins of the environment, and never a password, hash or token to anybody."""
    state = site.parts.settings.state
    password = "kemudi-canary-password-2b71"
    accounts.set_user(state, Person("local", "Local", "local@example.org"), password)
    grant = RoleGrant("token:deploy", "editor", ("dev",))
    token = accounts.add_token(state, "deploy-token-name", grant, days=1)
    accounts.add_token(state, "elsewhere-token-name", RoleGrant("token:x", "viewer", ("prod",)), days=1)
    site.repo.roles(
        {"who": "group:readers", "role": "viewer", "environments": ["dev"], "categories": ["sync"]},
        {"who": "hidden@example.org", "role": "editor", "environments": ["dev"], "categories": ["neo4j"]},
        {"who": ADMIN.email, "role": "admin", "environments": ["dev"]},
    )
    site.refresh()
    admin = site.sign_in(ADMIN, owner=False).get(PEOPLE).text
    for said in ("local@example.org", "no role", "deploy-token-name", "hidden@example.org"):
        assert said in admin, said
    assert "elsewhere-token-name" not in admin
    viewer = site.sign_in(VIEWER, owner=False).get(PEOPLE).text
    for said in ("local@example.org", "deploy-token-name", "hidden@example.org"):
        assert said not in viewer, said
    assert "viewer sync" in row(viewer, "readers")
    assert "you" in row(viewer, "readers")
    assert site.sign_in(VIEWER, owner=False).get("/e/prod/people").status_code == 404
    for page in (admin, viewer):
        assert password not in page
        assert "$argon2" not in page
        assert token not in page
        assert token.removeprefix("kemudi_")[:12] not in page


def test_nobody_gives_themselves_a_role(site):
    """The page says how roles are changed, and has no form that does it."""
    page = site.sign_in().get(PEOPLE).text
    assert "roles.yaml" in page
    forms = set(re.findall(r'<form method="post" action="([^"]*)"', page))
    assert forms <= {"/preferences", "/sign-out", "/sign-out-others"}
    assert site.sign_in().form(PEOPLE, role="admin").status_code == 405


def test_other_sessions_are_signed_out(site):
    """Of this person, signed in the same way, all but this one; the others' cookies are nobody's from then on."""
    mine, other, third = (site.sign_in() for _ in range(3))
    stranger = site.sign_in(VIEWER, owner=False)
    impostor = site.sign_in(Person("owner", "Not The Owner", "not@example.org"), owner=False)
    assert "with 2 more browsers" in mine.get(PEOPLE).text
    answer = mine.form("/sign-out-others", next=f"{PEOPLE}#you")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PEOPLE}#you")
    assert "this browser only" in mine.get(PEOPLE).text
    for gone in (other, third):
        assert gone.api("GET", "/status").status_code == 401
    for kept in (stranger, impostor):
        assert kept.api("GET", "/status").status_code == 200
    assert mine.form("/sign-out-others", next="//evil.example").headers["location"] == "/"


def test_a_flaw_of_the_file_and_an_empty_one_are_said(site, daemon):
    """What is wrong with the roles file is named by its line; without one, the page says who may all the same."""
    browser = site.sign_in()
    assert "one-time link of this machine may do everything" in browser.get(PEOPLE).text
    site.repo.roles({"who": "somebody@example.org", "role": "emperor"})
    daemon.away = True
    site.refresh()
    page = browser.get(PEOPLE)
    assert page.status_code == 200
    assert "roles.yaml:" in page.text


def test_markup_in_the_roles_file_is_text(site):
    """A name that is a script runs nowhere."""
    site.repo.roles({"who": "<script>alert(1)</script>@example.org", "role": "viewer"})
    site.refresh()
    assert "<script>alert" not in site.sign_in().get(PEOPLE).text
