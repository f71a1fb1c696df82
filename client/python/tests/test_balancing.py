"""Several servers behind one name."""

from __future__ import annotations

import threading

import grpc
from conftest import Answer, Connect, Serve

from denoised.v1.image_generation_pb2 import GenerateEvent, GenerateRequest


def test_calls_take_turns_among_the_servers_behind_a_name(connect: Connect, serve: Serve) -> None:
    seen = [threading.Event(), threading.Event()]

    def answer_as(number: int) -> Answer:
        seen[number].set()
        events = [
            GenerateEvent(sequence=0, accepted={"count": 1}),
            GenerateEvent(sequence=1, image={"image_index": 0}),
            GenerateEvent(sequence=2, finished={"images": 1}),
        ]
        return events, grpc.StatusCode.OK

    def server(number: int) -> str:
        def answer(_: GenerateRequest) -> Answer:
            return answer_as(number)

        return serve(answer)

    surface = connect(f"ipv4:{server(0)},{server(1)}")
    # At first, calls go to the server that the client has connected to.
    for _ in range(1000):
        assert len(list(surface.events(lambda client: client.generate(model="faces")))) == 3
        if all(event.is_set() for event in seen):
            return
    raise AssertionError("every call went to the same server")
