"""Store many secrets at once, with the client for asyncio."""

import asyncio
import uuid

from gitpod import AsyncGitpod

PROJECT = str(uuid.uuid4())


async def main() -> None:
    async with AsyncGitpod() as client:
        await asyncio.gather(
            *(
                client.secrets.create(name=f"WORKER_{n}", value=f"token-{n}", project_id=PROJECT, api_only=True)
                for n in range(10)
            )
        )
        print([secret.name async for secret in client.secrets.list(filter={"scope": {"project_id": PROJECT}})])


asyncio.run(main())
