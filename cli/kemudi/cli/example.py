"""Where the worked example is: in the checkout, or beside this module in an installed wheel."""

from pathlib import Path

from kemudi.schema.errors import UsageError


def example_folder() -> Path:
    """The folder of the example's kemudi.yaml. Raises UsageError when the installation lacks it."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "example", here.parents[3] / "config-repo"):
        if (folder / "kemudi.yaml").is_file():
            return folder
    raise UsageError(
        "this installation has no example config repo", hint="Reinstall kemudi, or use `kemudi init`."
    )
