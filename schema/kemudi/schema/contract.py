"""The contract of a category."""

from kemudi.schema.model import contract_from_model, editor_rendering, setting, write_contracts

__all__ = ["contract_from_model", "editor_rendering", "setting", "write_contracts"]
