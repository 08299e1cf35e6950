"""Handle a create that fails: the error says what is wrong, and whether the secret may have been stored."""

from gitpod import APIError, ConflictError, Gitpod, GitpodError

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"

try:
    with Gitpod(timeout=10) as client:
        client.secrets.create(name="API_TOKEN", value="t0ken", project_id=PROJECT, environment_variable=True)
        print("stored")
except ConflictError:
    print("the name is taken in this project")
except APIError as error:
    for violation in error.violations:
        print(f"fix {violation.field}: {violation.message}")
    if error.outcome == "unknown":
        print(f"it may have been stored, or will be; put would settle it: {error}")
    else:
        print(f"not stored: {error}")
except GitpodError as error:
    print(f"the client is not set up: {error}")
