"""What the daemon does with sealed values of unusual origin: copied, forged, many, or of SOPS."""

from dataclasses import replace
from typing import Any

import pytest

from kemudi.daemon.unseal import Unsealer
from kemudi.repo.secrets import generate_identity, seal
from kemudi.repo.sops import encrypt_values
from kemudi.schema.envelope import Context, Envelope, context_digest
from kemudi.schema.state import ConfigState, File
from kemudi.store.sealing import KeysetBundle, Sealer
from kemudi.store.snapshot import load_category, open_secrets

CANARY = "canary-77a1-plaintext"


@pytest.fixture
def vault(keys: Any, settings: Any) -> Any:
    """Settings of a daemon with an identity, and its public key."""
    identity, public = generate_identity()
    keys.identity.write_text(f"{identity}\n")
    keys.identity.chmod(0o600)
    return replace(settings, identity=keys.identity), public


def files(kit: Any, public: str, **lines: str) -> dict[str, str]:
    """A config repo with secrets under `vault`, given by layer."""
    schema = {
        "TOKEN": {"type": "string", "x-kemudi-sensitive": True},
        "OTHER": {"type": "string", "x-kemudi-sensitive": True},
        "VAULT_HOST": {"type": "string", "default": "here"},
    }
    recipients = f"recipients:\n  daemon: {{key: {public}, kind: daemon}}\nenvironments:\n  dev: [daemon]\n"
    return kit.files() | {
        "recipients.yaml": recipients,
        "contracts/vault.schema.json": kit.contract("vault", schema),
        **{f"{layer}/vault.yaml": text for layer, text in lines.items()},
    }


def sealed(kit: Any, public: str, key: str = "TOKEN", layer: str = "base", value: str = CANARY) -> str:
    return seal(Context(kit.repo_id, layer, "vault", key), "string", value, [public])


def served(redis_url: str, reader: Any, keyset: Any, kit: Any) -> dict[str, Any]:
    """The secrets as a service gets them."""
    manifest = reader.manifest()
    store = kit.store(redis_url)
    try:
        blobs = store.blobs(manifest.digests)
    finally:
        store.close()
    encoded = load_category("vault", manifest.categories["vault"], blobs)
    sealer = Sealer(KeysetBundle.load(keyset), repo_id=manifest.repo_id, env="dev")
    return {key: secret.reveal() for key, secret in open_secrets(encoded, sealer).items()}


@pytest.mark.parametrize("copied", ["between layers", "between keys"])
@pytest.mark.parametrize("forged", [False, True])
def test_a_copied_ciphertext_is_refused(
    repo: Any, vault: Any, locals_: Any, kit: Any, copied: str, forged: bool
) -> None:
    """As it is, by validation; with the digest in the clear made to fit, by what is inside."""
    settings, public = vault
    first = repo.commit(files(kit, public, base=f"TOKEN: {sealed(kit, public)}\n"))
    daemon = locals_(settings).start()
    origin = ("TOKEN", "dev") if copied == "between layers" else ("OTHER", "base")
    text = sealed(kit, public, *origin)
    if forged:
        envelope = Envelope.parse(text)
        here = context_digest(Context(kit.repo_id, "base", "vault", "TOKEN"))
        text = str(Envelope(here, envelope.rs, envelope.ciphertext))
    bad = repo.commit({"base/vault.yaml": f"TOKEN: {text}\n"})
    kit.eventually(lambda: daemon.status()["rejected"] == bad)
    status = daemon.status()
    assert status["applied"]["revision"] == first
    (error,) = status["errors"]
    assert (error["rule"], error["key"]) == ("KEM033", "TOKEN")
    assert ("was sealed for" if forged else "for another place") in error["message"]
    assert CANARY not in str(status) + daemon.output.getvalue()


def test_a_sops_file_is_served_and_a_changed_one_refused(
    repo: Any, vault: Any, locals_: Any, reader: Any, redis_url: str, kit: Any
) -> None:
    """Secrets sealed at rest, the rest as plain values; one changed plain line and the MAC refuses it all."""
    settings, public = vault
    values = {"TOKEN": CANARY, "VAULT_HOST": "there"}
    written, block = encrypt_values(values, {"TOKEN"}, [public])
    text = f"TOKEN: {written['TOKEN']}\nVAULT_HOST: there\n{block}"
    first = repo.commit(files(kit, public, base=text))
    daemon = locals_(settings).start()
    assert daemon.applied() == first
    assert served(redis_url, reader, settings.keyset, kit) == {"TOKEN": CANARY}
    assert reader.values()["VAULT_HOST"] == "there"
    bad = repo.commit({"base/vault.yaml": text.replace("VAULT_HOST: there", "VAULT_HOST: elsewhere")})
    kit.eventually(lambda: daemon.status()["rejected"] == bad)
    assert {error["rule"] for error in daemon.status()["errors"]} == {"KEM032"}
    assert "its MAC does not fit" in daemon.status()["errors"][0]["message"]
    assert CANARY not in str(daemon.status()) + daemon.output.getvalue()
    assert served(redis_url, reader, settings.keyset, kit) == {"TOKEN": CANARY}


def test_a_commit_that_changes_one_of_many_secrets_opens_one(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted where the ciphertext is opened; also over all categories and layers that stay."""
    identity, public = generate_identity()
    names = [f"SECRET_{number:03}" for number in range(100)]
    schema = {name: {"type": "string", "x-kemudi-sensitive": True} for name in names}
    lines = {name: sealed(kit, public, name) for name in names}
    parts = files(kit, public) | {
        "contracts/vault.schema.json": kit.contract("vault", schema),
        "base/vault.yaml": "".join(f"{name}: {text}\n" for name, text in lines.items()),
    }
    opened: list[str] = []
    from kemudi.daemon import unseal as module  # its name is that of a function, too

    real = module.unseal

    def counting(text: str, context: Context, *rest: Any, **more: Any) -> Any:
        opened.append(context.key)
        return real(text, context, *rest, **more)

    monkeypatch.setattr(module, "unseal", counting)
    unsealer = Unsealer([identity])
    state = ConfigState.load(File(path, text.encode()) for path, text in parts.items())
    assert state.findings == ()

    def open_all(of: ConfigState) -> None:
        category = of.resolve("dev")["vault"]
        for setting in category.settings.values():
            unsealer.open(kit.repo_id, category.contract, setting, setting.value)

    open_all(state)
    assert opened == names
    opened.clear()
    lines["SECRET_042"] = sealed(kit, public, "SECRET_042", value="new")
    text = "".join(f"{name}: {line}\n" for name, line in lines.items())
    open_all(state.update({"base/vault.yaml": File("base/vault.yaml", text.encode())}))
    assert opened == ["SECRET_042"]
