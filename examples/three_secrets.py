"""Store the three documented secrets: an environment variable, a file, a registry login.

Usage: python three_secrets.py [binary | json] [PROJECT]
The service and the token come from GITPOD_BASE_URL and GITPOD_API_KEY.
"""

import sys

from gitpod import ConflictError, Gitpod
from gitpod.types import SecretCreateParams

project = sys.argv[2] if len(sys.argv) > 2 else "b0e12f6c-4c67-429d-a4a6-d9838b5da047"

secrets: list[SecretCreateParams] = [
    {
        "name": "DATABASE_URL",
        "project_id": project,
        "value": "postgresql://user:pass@localhost:5432/db",
        "environment_variable": True,
    },
    {
        "name": "SSH_KEY",
        "project_id": project,
        "value": "-----BEGIN RSA PRIVATE KEY-----\n...",
        "file_path": "/home/gitpod/.ssh/id_rsa",
    },
    {
        "name": "DOCKER_AUTH",
        "project_id": project,
        "value": "username:password",
        "container_registry_basic_auth_host": "https://registry.example.com",
    },
]

with Gitpod(codec="json" if sys.argv[1:2] == ["json"] else "binary") as client:
    for params in secrets:
        try:
            print(client.secrets.create(**params).to_json())
        except ConflictError as error:
            print(f"{params['name']}: {type(error).__name__}: {error}; outcome: {error.outcome}")
