"""A server process that speaks the chat completions of an OpenAI-compatible server, well or badly.

Usage: scripted_server.py PORT BEHAVIOUR LOG. The behaviour may be changed while it runs: it is the text of the file
LOG.behaviour where that exists. Each request that is answered well leaves a line in LOG: the title asked about.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

ANSWER = {
    "who_for": "People who love it very much",
    "who_not_for": "People who prefer other things",
    "feature": "A thing of beauty for many people",
    "tags": ["one", "two", "three"],
}
ROOM = 200


def application(behaviour: str, log: Path) -> web.Application:
    changed = Path(f"{log}.behaviour")
    seen = {"requests": 0}

    async def complete(request: web.Request) -> web.StreamResponse:
        seen["requests"] += 1
        how = changed.read_text() if changed.exists() else behaviour
        body = await request.json()
        title = body["messages"][-1]["content"].splitlines()[0]
        if how == "garbage":
            return web.Response(text="<html>It works!</html>", content_type="text/html")
        if how == "error":
            return web.Response(status=500, text="no")
        if how == "poisoned" and "Scarf 0" in title:
            return web.Response(status=500, text="no")
        if how == "busy" and seen["requests"] <= 3:
            return web.Response(status=429, headers={"Retry-After": "1"})
        if how == "hang":
            await asyncio.sleep(3600)
        if how == "slow":
            await asyncio.sleep(0.5)
        if how == "small" and len(body["messages"][-1]["content"]) > ROOM:
            return web.json_response({"error": {"message": "too long"}}, status=400)
        answer = ANSWER | {"feature": f"{ANSWER['feature']}, as {title.rpartition(' ')[2]} says"}
        reply = {
            "choices": [{"message": {"content": json.dumps(answer)}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20},
        }
        if how == "half":
            response = web.StreamResponse(headers={"Content-Length": "500"})
            await response.prepare(request)
            await response.write(json.dumps(reply)[:40].encode())
            assert request.transport is not None
            request.transport.close()
            return response
        with log.open("a") as file:
            file.write(f"{title}\n")
        return web.json_response(reply)

    async def tokenize(request: web.Request) -> web.Response:
        length = len((await request.json())["messages"][-1]["content"])
        return web.json_response({"count": length, "max_model_len": ROOM + 400})

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "small"}]})

    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/chat/completions", complete),
            web.post("/tokenize", tokenize),
            web.get("/v1/models", models),
        ]
    )
    return app


if __name__ == "__main__":
    port, behaviour, log = sys.argv[1:]
    web.run_app(application(behaviour, Path(log)), host="127.0.0.1", port=int(port), print=None)
