import os
from gitpod import Gitpod
client = Gitpod(
    bearer_token=os.environ.get("GITPOD_API_KEY"),  # This is the default and can be omitted
)
secret = client.secrets.create(
    environment_variable=True,
    name="DATABASE_URL",
    project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047",
    value="postgresql://user:pass@localhost:5432/db",
)
print(secret.secret)
