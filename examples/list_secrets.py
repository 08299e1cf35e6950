"""List every secret that the token may see: its name, its mount and its project."""

from gitpod import Gitpod

with Gitpod() as client:
    for secret in client.secrets.list():
        mount = secret.file_path or secret.container_registry_basic_auth_host
        mount = mount or ("environment variable" if secret.environment_variable else "API only")
        print(f"{secret.name:<16} {mount:<32} {secret.project_id}")
