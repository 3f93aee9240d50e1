"""Values files as data with places."""

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
