"""`kemudi pause` and `kemudi resume`: stop publishing for a while, with a reason and an end."""

import re
from datetime import UTC, datetime, timedelta

import click

from kemudi.cli.daemon_api import DaemonApi
from kemudi.cli.options import daemon_url_option, env_option
from kemudi.cli.output import data_console, json_option, print_json

_SPAN = re.compile(r"([1-9][0-9]{0,5})(min|m|h|d)", re.ASCII)
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days"}


class Until(click.ParamType[datetime]):
    """A moment: RFC 3339, or a span from now such as `30min`, `2h`, `1d`."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read either form; the moment must lie ahead."""
        if isinstance(value, datetime):
            return value
        text = str(value)
        span = _SPAN.fullmatch(text)
        try:
            moment = (
                datetime.now(UTC) + timedelta(**{_UNITS[span[2]]: int(span[1])})
                if span
                else datetime.fromisoformat(text)
            )
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is neither a span (30min, 2h, 1d) nor an RFC 3339 time", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{text!r} has no time zone; write {text}Z for UTC", param, ctx)
        if moment <= datetime.now(UTC):
            self.fail(f"{text!r} lies in the past", param, ctx)
        return moment.astimezone(UTC)


@click.command(
    "pause",
    epilog="""\b
Example:
  kemudi pause --env prod --reason "moving the database" --until 30min""",
)
@env_option
@click.option("--reason", "-m", required=True, help="Why; everybody who asks for the status sees it.")
@click.option(
    "--until", type=Until(), help="When publishing goes on by itself: 30min, 2h, or an RFC 3339 time."
)
@daemon_url_option
@json_option
def pause_command(env: str, reason: str, until: datetime | None, daemon_url: str, as_json: bool) -> None:
    """Stop publishing to ENV. Commits are still checked, and wait; `kemudi resume` ends it."""
    end = until.isoformat(timespec="seconds").replace("+00:00", "Z") if until else None
    answer = DaemonApi(daemon_url).send("PUT", "/pause", {"env": env, "reason": reason, "until": end})
    if as_json:
        print_json(answer)
    else:
        data_console().print(f"{env} is paused until {end or 'it is resumed'}: {reason}", markup=False)


@click.command(
    "resume",
    epilog="""\b
Example:
  kemudi resume --env prod""",
)
@env_option
@daemon_url_option
@json_option
def resume_command(env: str, daemon_url: str, as_json: bool) -> None:
    """Publish to ENV again. What was committed meanwhile goes live at once."""
    answer = DaemonApi(daemon_url).send("DELETE", "/pause", {"env": env})
    if as_json:
        print_json(answer)
    else:
        data_console().print(f"{env} publishes again")
