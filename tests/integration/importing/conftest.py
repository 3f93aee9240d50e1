"""A real Django project: settings, a DynamicConfig table with its change log, and the people who changed things."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SETTINGS = '''
"""Settings of a project that copies a registry into a graph."""

import os
from datetime import timedelta
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent

SECRET_KEY = "django-insecure-q2w8e4r6t1y3u5"
DEBUG = False
ALLOWED_HOSTS = ["registry.example.org"]
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "tuning"]
MIDDLEWARE = []
ROOT_URLCONF = "urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "Asia/Jakarta"

# Rows on one page of a list.
PAGE_SIZE = 25
PAGE_SIZE_MAX = 10 * 100  # the most that anybody may ask for
UPLOAD_MAX_MB = int(os.environ.get("UPLOAD_MAX_MB", "20"))
UPLOAD_TYPES = ["pdf", "csv"]
MAIL_HOST = os.getenv("MAIL_HOST", "smtp.example.org")
MAIL_PORT = 587
MAIL_USE_TLS = True
MAIL_PASSWORD = "correct-horse-battery"
MAIL_SENDER = "registry@example.org"
SEARCH_URL = "https://search.example.org:9200"
SEARCH_TIMEOUT_SECONDS = 2.5
SEARCH_WEIGHTS = {"title": 2.0, "body": 1.0}
REPORT_HOURS = [6, 18]
REPORT_TITLE = "Registry" + " report"
SESSION_LIFETIME = timedelta(hours=8)
RATE_LIMIT = 100
'''

MODELS = """
from django.conf import settings
from django.db import models


class DynamicConfig(models.Model):
    key = models.CharField(max_length=100, unique=True)
    value = models.TextField()
    data_type = models.CharField(max_length=20)
    category = models.CharField(max_length=50)
    description = models.TextField(blank=True)
    default_value = models.TextField(blank=True)
    is_active = models.BooleanField(default=True)
    is_sensitive = models.BooleanField(default=False)
    requires_restart = models.BooleanField(default=False)

    class Meta:
        db_table = "dynamic_config"


class ConfigChangeLog(models.Model):
    config = models.ForeignKey(DynamicConfig, on_delete=models.CASCADE)
    old_value = models.TextField(null=True)
    new_value = models.TextField(null=True)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    changed_at = models.DateTimeField()
    reason = models.TextField(blank=True)

    class Meta:
        db_table = "config_change_log"
"""

FILL = """
import os
from datetime import UTC, datetime, timedelta

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from tuning.models import ConfigChangeLog, DynamicConfig

call_command("makemigrations", "tuning", verbosity=0)
call_command("migrate", verbosity=0)
operator = User.objects.create(username="operator", first_name="Duty", last_name="Operator", email="duty@example.org")
analyst = User.objects.create(username="analyst", email="analyst@example.org")
ROWS = [
    ("SYNC_BATCH_SIZE", "1100", "integer", "sync", "Rows in one transaction.", "1000", True, False, False),
    ("SYNC_TIMEOUT", "3600", "integer", "sync", "", "3600", True, False, False),
    ("SYNC_ENABLED", "true", "boolean", "sync", "Whether the sync runs.", "true", True, False, True),
    ("GRAPH_ALGORITHM", "hybrid", "string", "Graph queries", "", "collaborative", True, False, False),
    ("GRAPH_WEIGHTS", '{"collaborative": 0.6}', "json", "Graph queries", "", "{}", True, False, False),
    ("GRAPH_THRESHOLD", "0.75", "float", "Graph queries", "", "0.5", True, False, False),
    ("LEGACY_MODE", "true", "boolean", "legacy", "Nobody knows.", "false", False, False, False),
    ("NEO4J_PASSWORD", "pw-now-zebra", "string", "neo4j", "The graph's password.", "", True, True, True),
]
for key, value, kind, category, words, default, active, sensitive, restart in ROWS:
    DynamicConfig.objects.create(
        key=key, value=value, data_type=kind, category=category, description=words, default_value=default,
        is_active=active, is_sensitive=sensitive, requires_restart=restart,
    )
size = DynamicConfig.objects.get(key="SYNC_BATCH_SIZE")
password = DynamicConfig.objects.get(key="NEO4J_PASSWORD")
start = datetime(2024, 1, 15, 8, 30, tzinfo=UTC)
before = "100"
for number in range(36):
    after = str(200 + 25 * number + (0 if number < 35 else 25))
    ConfigChangeLog.objects.create(
        config=size, old_value=before, new_value=after, changed_by=operator if number % 3 else analyst,
        changed_at=start + timedelta(days=number), reason=f"Load test {number} of the new cluster",
    )
    before = after
for number, (old, new) in enumerate([("pw-old-otter", "pw-old-heron"), ("pw-old-heron", "pw-old-lynx"),
                                     ("pw-old-lynx", "pw-old-viper"), ("pw-old-viper", "pw-now-zebra")]):
    ConfigChangeLog.objects.create(
        config=password, old_value=old, new_value=new, changed_by=operator,
        changed_at=start + timedelta(days=100 + number), reason=f"Rotation: {new} instead of {old}",
    )
"""


@dataclass(frozen=True)
class Project:
    """The project on disk; `dsn` is its database."""

    folder: Path

    @property
    def dsn(self) -> str:
        return f"sqlite:///{self.folder / 'db.sqlite3'}"


@pytest.fixture(scope="session")
def django_project(tmp_path_factory) -> Project:
    """20 settings to take over beside what is the shape of a program, 8 rows, 40 changes; made by Django itself."""
    folder = tmp_path_factory.mktemp("django")
    app = folder / "tuning"
    (app / "migrations").mkdir(parents=True)
    for name, text in (
        ("settings.py", SETTINGS),
        ("tuning/__init__.py", ""),
        ("tuning/migrations/__init__.py", ""),
        ("tuning/models.py", MODELS),
        ("fill.py", FILL),
    ):
        (folder / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    subprocess.run([sys.executable, "fill.py"], cwd=folder, env=environment, check=True)
    return Project(folder)
