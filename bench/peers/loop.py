"""Creates one secret after the other by gitpod-sdk 0.11: `python -m bench.peers.loop URL TOKEN PROJECT NUMBER`."""

import importlib
import sys
from typing import Any

url, token, project, number = sys.argv[1:5]
gitpod: Any = importlib.import_module("gitpod")
client = gitpod.Gitpod(bearer_token=token, base_url=url)
for each in range(int(number)):
    client.secrets.create(name=f"NAME_{each}", value="v" * 64, project_id=project, environment_variable=True)
