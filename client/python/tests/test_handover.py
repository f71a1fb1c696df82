"""Generations that another server continues, against servers that say what the test tells them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from conftest import Answer, Connect, Serve

import denoised
from denoised.v1.image_generation_pb2 import GenerateEvent, GenerateRequest


def event(sequence: int, **what: Any) -> GenerateEvent:
    return GenerateEvent(sequence=sequence, **what)


def first_server() -> list[GenerateEvent]:
    return [
        event(0, accepted={"count": 2}),
        event(1, image={"image_index": 0}),
        event(2, handover={"token": b"sealed"}),
    ]


def second_server() -> list[GenerateEvent]:
    return [
        event(3, accepted={"count": 2, "evaluations_done": 7}),
        event(4, image={"image_index": 1}),
        event(5, finished={"images": 1}),
    ]


@pytest.mark.parametrize("on_disconnect", [None, "cancel", "detach"])
def test_a_stream_continues_on_another_server(
    connect: Connect, serve: Serve, on_disconnect: str | None
) -> None:
    requests: list[GenerateRequest] = []

    def answer(request: GenerateRequest) -> Answer:
        requests.append(request)
        if request.handover:
            return second_server(), grpc.StatusCode.OK
        return first_server(), grpc.StatusCode.UNAVAILABLE

    settings = {"model": "faces", "seed": 1}
    if on_disconnect:
        settings["on_disconnect"] = on_disconnect
    stream = connect(serve(answer)).events(lambda client: client.generate(**settings))
    events = list(stream)
    assert [each.sequence for each in events] == [0, 1, 4, 5]
    assert [type(each).__name__ for each in events] == ["Accepted", "Image", "Image", "Finished"]
    assert requests[0].accept_handover
    assert requests[1:] == [GenerateRequest(handover=b"sealed")]


def test_a_handover_that_meets_a_draining_server_is_presented_again(
    connect: Connect, serve: Serve
) -> None:
    presented = 0

    def answer(request: GenerateRequest) -> Answer:
        nonlocal presented
        if not request.handover:
            return first_server(), grpc.StatusCode.UNAVAILABLE
        presented += 1
        if presented < 3:
            return [], grpc.StatusCode.UNAVAILABLE
        return second_server(), grpc.StatusCode.OK

    surface = connect(serve(answer), retry=denoised.Retry(initial_backoff_seconds=0.01))
    events = list(surface.events(lambda client: client.generate(model="faces", seed=1)))
    assert presented == 3
    assert isinstance(events[-1], denoised.Finished)


def test_a_handover_that_a_closing_server_cancels_is_presented_again(
    connect: Connect, serve: Serve
) -> None:
    presented = 0

    def answer(request: GenerateRequest) -> Answer:
        nonlocal presented
        if not request.handover:
            return first_server(), grpc.StatusCode.UNAVAILABLE
        presented += 1
        if presented < 3:
            return [], grpc.StatusCode.CANCELLED
        return second_server(), grpc.StatusCode.OK

    surface = connect(serve(answer), retry=denoised.Retry(initial_backoff_seconds=0.01))
    events = list(surface.events(lambda client: client.generate(model="faces", seed=1)))
    assert presented == 3
    assert isinstance(events[-1], denoised.Finished)


def test_a_handover_that_is_always_cancelled_is_presented_max_attempts_times(
    connect: Connect, serve: Serve
) -> None:
    presented = 0

    def answer(request: GenerateRequest) -> Answer:
        nonlocal presented
        if not request.handover:
            return first_server(), grpc.StatusCode.UNAVAILABLE
        presented += 1
        return [], grpc.StatusCode.CANCELLED

    retry = denoised.Retry(initial_backoff_seconds=0.01, max_attempts=3)
    surface = connect(serve(answer), retry=retry)
    stream = surface.events(lambda client: client.generate(model="faces", seed=1))
    with pytest.raises(denoised.Cancelled):
        list(stream)
    assert presented == 3


def test_cancelled_after_an_answer_means_what_it_says(connect: Connect, serve: Serve) -> None:
    presented = 0

    def answer(request: GenerateRequest) -> Answer:
        nonlocal presented
        if not request.handover:
            return first_server(), grpc.StatusCode.UNAVAILABLE
        presented += 1
        return second_server()[:1], grpc.StatusCode.CANCELLED

    stream = connect(serve(answer)).events(lambda client: client.generate(model="faces", seed=1))
    with pytest.raises(denoised.Cancelled):
        list(stream)
    assert presented == 1


def test_a_client_that_is_closed_presents_nothing_again(serve: Serve) -> None:
    was_presented, is_closed = threading.Event(), threading.Event()
    presented = 0

    def answer(request: GenerateRequest) -> Answer:
        nonlocal presented
        if not request.handover:
            return first_server(), grpc.StatusCode.UNAVAILABLE
        presented += 1
        was_presented.set()
        is_closed.wait()
        return [], grpc.StatusCode.CANCELLED

    client = denoised.Client(serve(answer), retry=denoised.Retry(initial_backoff_seconds=0.01))
    with ThreadPoolExecutor(1) as reader:
        events = reader.submit(list, client.generate(model="faces", on_disconnect="cancel"))
        was_presented.wait()
        client.close()
        with pytest.raises(denoised.Cancelled):
            events.result()
        is_closed.set()
    assert presented == 1


def test_a_pause_is_not_followed(connect: Connect, serve: Serve) -> None:
    requests: list[GenerateRequest] = []

    def answer(request: GenerateRequest) -> Answer:
        requests.append(request)
        paused = event(1, handover={"token": b"sealed", "paused": True})
        return [event(0, accepted={"count": 2}), paused], grpc.StatusCode.ABORTED

    stream = connect(serve(answer)).events(lambda client: client.generate(model="faces", seed=1))
    assert isinstance(next(stream), denoised.Accepted)
    paused = next(stream)
    assert isinstance(paused, denoised.Paused)
    assert paused.token == b"sealed"
    with pytest.raises(denoised.Aborted):
        next(stream)
    assert len(requests) == 1


def test_a_handover_that_cannot_be_continued_fails(connect: Connect, serve: Serve) -> None:
    def answer(request: GenerateRequest) -> Answer:
        if request.handover:
            return [], grpc.StatusCode.FAILED_PRECONDITION
        return first_server(), grpc.StatusCode.UNAVAILABLE

    stream = connect(serve(answer)).events(lambda client: client.generate(model="faces", seed=1))
    with pytest.raises(denoised.FailedPrecondition):
        list(stream)
