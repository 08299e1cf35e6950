"""Settings: where the service is, which token to send, and which scope is meant.

An option comes before an environment variable, that before a profile or the configuration file (TOML), and that before
a default. A token is sent only to the service that it was given for.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import click

from gitpod.cli.sources import config_file, project_file, tokens
from gitpod.cli.sources.config_file import ConfigFile
from gitpod.cli.sources.project_file import ProjectFile
from gitpod.cli.sources.setting import (
    DEFAULT,
    NAMES,
    OPTION,
    PROFILE_VARIABLE,
    SCOPES,
    VARIABLES,
    Setting,
    Settings,
    is_id,
)

PROFILE = "gitpod.cli.profile"
"""The key of the option `--profile` in what the contexts of click share."""


def load(options: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in effect, by name; `profile` is the name of the profile that they come from, if any.

    A token in the keyring has no value; `client.with_token` reads it.

    Args:
        options: scopes that options of the command gave.

    Raises:
        click.UsageError: a file is not TOML, has an unknown setting, or is open to other users; there is no such
            profile; a scope is not a UUID; or variables name two services.
    """
    from gitpod._endpoint import DEFAULT_BASE_URL  # loads a part of the SDK

    file, project = config_file.read(), project_file.find()
    given = {name: os.environ.get(variable, "") for name, variable in VARIABLES.items()}
    variables = {name: Setting(name, value, VARIABLES[name]) for name, value in given.items() if value}
    profile = _profile(file, project, variables)
    own = {"profile": profile} | file.profiles[profile.value] if profile else file.top
    scope = project.scope if project else {}
    # A profile counts where it is named.
    if profile and profile.source == OPTION:
        layers = [scope, {name: each for name, each in variables.items() if name in SCOPES}, own]
    elif profile and profile.source == PROFILE_VARIABLE:
        layers = [scope, own, variables]
    else:
        layers = [own, scope, variables]
    merged = _merge(
        {"base_url": Setting("base_url", DEFAULT_BASE_URL, DEFAULT)},
        *layers,
        {name: Setting(name, value, OPTION) for name, value in (options or {}).items()},
    )
    _keep_apart(merged, own)
    for name in SCOPES.keys() & merged.keys():
        if not is_id(merged[name].value):
            raise click.UsageError(f"{merged[name].given_as}: is not a valid UUID")
        # The contract has one form of a UUID. `move` deletes, so it must tell whether two scopes are the same.
        merged[name] = replace(merged[name], value=str(UUID(merged[name].value)))
    if "api_key" not in merged and not is_embedded(merged):
        kept = tokens.find(merged["base_url"].value, profile.value if profile else "")
        merged |= {"api_key": kept} if kept else {}
    return {name: merged[name] for name in ("profile", *NAMES) if name in merged}


def profile_of(found: Settings) -> str:
    """Return the name of the profile in effect, empty for none."""
    return found["profile"].value if "profile" in found else ""


def is_embedded(found: Settings) -> bool:
    """Tell whether the service is a store in this process, which needs no token."""
    from gitpod._endpoint import EMBEDDED  # loads a part of the SDK

    return found["base_url"].value.startswith(EMBEDDED)


def is_empty(found: Settings) -> bool:
    """Tell whether nothing is set at all."""
    return found.keys() == {"base_url"} and found["base_url"].source == DEFAULT


def _profile(file: ConfigFile, project: ProjectFile | None, variables: Settings) -> Setting | None:
    """Return the profile in effect. One that the project's file names gives way to variables that name a service."""
    context = click.get_current_context(silent=True)
    option = context.meta.get(PROFILE) if context else None
    services = [VARIABLES[name] for name in ("base_url", "api_key") if name in variables]
    if option is not None:
        found, named = Setting("profile", option, OPTION), "--profile"
    elif variable := os.environ.get(PROFILE_VARIABLE):
        if services:
            rule = "set one of them, not both; they may mean two services"
            raise click.UsageError(f"{PROFILE_VARIABLE}, {services[0]}: {rule}")
        found, named = Setting("profile", variable, PROFILE_VARIABLE), PROFILE_VARIABLE
    elif project and project.profile and not services:
        found, named = Setting("profile", project.profile, str(project.path)), f"{project.path}: profile"
    else:
        return None
    if found.value not in file.profiles:
        names = f"those are {', '.join(sorted(file.profiles))}" if file.profiles else "it has none"
        raise click.UsageError(f"{named}: there is no such profile in {file.path}; {names}")
    return found


def _merge(*layers: Settings) -> Settings:
    """Merge layers; a later one wins. A layer that names a scope removes the scopes of those before it."""
    merged: Settings = {}
    for layer in layers:
        if SCOPES.keys() & layer.keys():
            merged = {name: setting for name, setting in merged.items() if name not in SCOPES}
        merged |= layer
    return merged


def _keep_apart(merged: Settings, own: Settings) -> None:
    """Remove a file's token and authorities if a variable names another service than the one that they are for."""
    from gitpod._endpoint import DEFAULT_BASE_URL  # loads a part of the SDK

    # Authorities without a service beside them are for every service.
    bound = ("api_key", "ca_cert") if "base_url" in own else ("api_key",)
    used = [name for name in bound if name in own and merged.get(name) == own[name]]
    meant = own["base_url"].value if "base_url" in own else DEFAULT_BASE_URL
    if used and tokens.address(merged["base_url"].value) != tokens.address(meant):
        for name in used:
            del merged[name]
