"""What to do when a create fails: the error says whether the secret was stored."""

from gitpod import APIError, ConflictError, Gitpod, InvalidRequestError

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"

with Gitpod(timeout=10) as client:
    try:
        client.secrets.create(name="API_TOKEN", value="t0ken", project_id=PROJECT, environment_variable=True)
        print("stored")
    except InvalidRequestError as error:
        for violation in error.violations:
            print(f"fix {violation.field}: {violation.message}")
    except ConflictError:
        print("the name is taken in this project")
    except APIError as error:
        if error.outcome == "unknown":
            print("it may have been stored: list the project's secrets before trying again")
        else:
            print(f"not stored: {error}")
