"""What Redis serves now, verified, for comparing it with git."""

from pathlib import Path

from kemudi.store.manifest import Manifest
from kemudi.store.redis import RedisStore
from kemudi.store.signing import VerifyKeys
from kemudi.store.snapshot import EncodedCategory, load_category


def served_category(env: str, redis_url: str, verify_key: Path, category: str) -> EncodedCategory | None:
    """One category as served; None when nothing is served or the category is not part of it.

    Raises UnavailableError when Redis is away, RefusedError when what it holds is not what the daemon signed.
    """
    keys = VerifyKeys.load(verify_key)
    store = RedisStore(redis_url, env)
    try:
        signed = store.current()
        if signed is None:
            return None
        manifest = Manifest.verify(signed, keys, env=env)
        digests = manifest.categories.get(category)
        if digests is None:
            return None
        return load_category(category, digests, store.blobs(digests))
    finally:
        store.close()
