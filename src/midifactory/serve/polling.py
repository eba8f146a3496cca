"""Blind pairs composed, and votes on them taken."""

import asyncio
from typing import Any

from fastapi import Request
from starlette.responses import Response

from midifactory.serve.answers import JSON, piece_json
from midifactory.serve.asking import generating, seed_of
from midifactory.serve.blind import Composer, Pair, Pairs, disguised, shuffled
from midifactory.serve.desk import FrontDesk
from midifactory.serve.problems import Problem, to_json
from midifactory.serve.schema import GenerateRequest, VoteRequest
from midifactory.serve.shelf import Progress
from midifactory.serve.votes import Votes


class PollingStation:
    """Lets two models be heard blind, and keeps the votes. votes: None for no voting."""

    def __init__(self, desk: FrontDesk, votes: Votes | None):
        self.desk, self._votes, self._pairs = desk, votes, Pairs()

    @property
    def votes(self) -> Votes:
        """The votes' file. Raises Problem where this server takes none."""
        if self._votes is None:
            remedy = "start it with votes=FILE.jsonl"
            raise Problem(403, f"votes: this server takes none; {remedy}", remedy=remedy, name="votes")
        return self._votes

    async def compose(self, request: Request, models: list[str], asked: GenerateRequest) -> Response:
        """POST /v1/blind. Both are asked the same, with seeds of the server's."""
        _ = self.votes
        if len(set(models)) < 2:
            remedy = "name two of GET /v1/models"
            raise Problem(
                422, f"models={models[0][:60]}: two different models are compared; {remedy}",
                *(models[0][:60], "two different models", remedy, "models"),
            )  # fmt: skip
        for name in models:
            self.desk.shelf.find(name)
        settings = asked.model_dump(mode="json", exclude={"model", "seed", "num_samples"})

        async def work() -> bytes:
            made = [await self._piece(asked, name) for name in shuffled(models)]
            (one, first), (other, second) = made
            pair = self._pairs.add(Pair((one, other), settings))
            return await asyncio.to_thread(to_json, {"pair": pair, "first": first, "second": second})

        return Response(await self.desk.within(request, work()), media_type=JSON)

    async def _piece(self, asked: GenerateRequest, name: str) -> tuple[Composer, dict[str, Any]]:
        served, seed = self.desk.shelf.find(name), seed_of(None)
        own = asked.model_copy(update={"model": name, "seed": seed, "num_samples": 1})
        prompt = await self.desk.prompt(own)
        progress = Progress()
        with served.promise(own.best_of):
            task = await served.at_desk(generating, served, own, self.desk.styles, prompt)
            (result,) = await served.perform(task.work, progress)
        self.desk.counted.pieces.labels(served.name).inc()
        piece = await asyncio.to_thread(piece_json, disguised(result), 1, None, bool(progress.cut))
        return Composer(served.name, served.trained.sha256, seed), piece

    async def vote(self, asked: VoteRequest) -> Response:
        """POST /v1/votes."""
        votes, pair = self.votes, self._pairs.find(asked.pair)
        pair.voted = True  # before anything is awaited: of two at once one is refused
        try:
            await asyncio.to_thread(votes.add, pair.vote(asked.choice))
        except OSError as error:
            pair.voted = False
            remedy = "make room for it, and vote again"
            raise Problem(
                503, f"votes: {votes.path.name} cannot be written ({error.strerror}); {remedy}", remedy=remedy
            ) from error
        first, second = (composer.name for composer in pair.composers)
        results = await asyncio.to_thread(votes.results)
        return Response(to_json({"first": first, "second": second, "results": results}), media_type=JSON)

    async def results(self) -> Response:
        """GET /v1/votes."""
        votes = self.votes
        results = await asyncio.to_thread(votes.results)
        return Response(to_json({"results": results, "file": str(votes.path)}), media_type=JSON)
