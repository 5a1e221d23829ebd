"""Blocks that ^C never enters or leaves by half: where it waits, when it comes through, whose handler is called."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from tl_fbn import interrupts
from tl_fbn.interrupts import Uninterrupted, unbroken, uninterrupted


def strike() -> None:
    """^C, here and now."""
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Python's own handler before and after, and nothing that waits."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert interrupts._waiting == []
    signal.signal(signal.SIGINT, before)


@uninterrupted
def noted(undo, log, *, enters=None, leaves=None):
    undo.callback(log.append, "off")
    if leaves is not None:
        undo.callback(leaves)
    log.append("on")
    if enters is not None:
        enters()
        log.append("still on")
    return log


def test_a_block_gives_what_its_function_returns_and_undoes_it():
    log = []
    with noted(log) as given:
        assert given is log == ["on"]
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert log == ["on", "off"]


def test_an_interrupt_in_the_body_comes_through_at_once():
    log = []
    with pytest.raises(KeyboardInterrupt), noted(log):
        strike()
        log.append("never")
    assert log == ["on", "off"]


def test_an_interrupt_while_entering_waits_until_all_is_on_and_then_undoes_it():
    log = []
    with pytest.raises(KeyboardInterrupt), noted(log, enters=strike):
        log.append("never")
    assert log == ["on", "still on", "off"]


def test_an_interrupt_while_leaving_waits_until_all_is_off():
    log = []
    with pytest.raises(KeyboardInterrupt):
        with noted(log, leaves=strike):
            pass
        log.append("never")
    assert log == ["on", "off"]


def test_an_interrupt_before_the_first_line_of_leaving_waits_too():
    log = []

    def strike_at_the_call(frame, event, argument):
        if event == "call" and frame.f_code is Uninterrupted.__exit__.__code__:
            sys.settrace(None)
            strike()

    before = sys.gettrace()
    block = noted(log)
    try:
        with pytest.raises(KeyboardInterrupt), block:
            sys.settrace(strike_at_the_call)
    finally:
        sys.settrace(before)
    assert log == ["on", "off"]


@pytest.mark.parametrize("moment", ["enters", "leaves"])
def test_inside_another_block_an_interrupt_ends_both(moment):
    log = []
    with pytest.raises(KeyboardInterrupt), noted(log):
        with noted(log, **{moment: strike}):
            log.append("body")
        log.append("never")
    assert log[-1] == "off"
    assert log.count("off") == 2
    assert ("body" in log) is (moment == "leaves")


def test_a_block_that_another_enters_hands_its_interrupt_on():
    log = []

    @uninterrupted
    def outer(undo):
        undo.callback(log.append, "outer off")
        undo.enter_context(noted(log, enters=strike))
        log.append("never")

    with pytest.raises(KeyboardInterrupt), outer():
        log.append("never")
    assert log == ["on", "still on", "off", "outer off"]


def test_a_handler_that_raises_nothing_lets_the_block_go_on():
    heard = []
    mine = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    log = []
    with noted(log, enters=strike, leaves=strike):
        log.append("body")
        strike()
    assert log == ["on", "still on", "body", "off"]
    assert heard == [signal.SIGINT] * 3
    signal.signal(signal.SIGINT, mine)


def test_a_handler_that_the_body_puts_there_stays():
    def mine(number, frame):
        pass

    with noted([]):
        signal.signal(signal.SIGINT, mine)
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is mine


def test_a_handler_for_a_while_inside_is_put_back():
    with noted([]):
        before = signal.signal(signal.SIGINT, lambda *_: None)
        with noted([]):
            pass
        signal.signal(signal.SIGINT, before)
        with pytest.raises(KeyboardInterrupt):
            strike()


def test_ignored_interrupts_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with noted([], enters=strike):
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_error_while_entering_undoes_what_was_done():
    log = []

    def fail():
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), noted(log, enters=fail):
        log.append("never")
    assert log == ["on", "off"]


def test_an_error_and_an_interrupt_while_entering_give_the_interrupt():
    log = []

    def both():
        strike()
        raise ValueError("mine")

    with pytest.raises(KeyboardInterrupt) as caught, noted(log, enters=both):
        log.append("never")
    assert isinstance(caught.value.__context__, ValueError)
    assert log == ["on", "off"]


def test_a_block_may_be_entered_inside_itself():
    log = []
    block = noted(log)
    with pytest.raises(KeyboardInterrupt), block, block:
        strike()
    assert log == ["on", "on", "off", "off"]


def test_an_unbroken_function_runs_to_its_end():
    log = []

    @unbroken
    def work(word):
        strike()
        log.append(word)
        return word

    with pytest.raises(KeyboardInterrupt):
        work("done")
    assert log == ["done"]
    assert unbroken(lambda number: number + 1)(2) == 3


def test_another_thread_takes_no_interrupt_of_the_main_one():
    log = []

    def in_another_thread():
        with noted(log):
            log.append("body")

    def meanwhile():
        strike()
        thread = threading.Thread(target=in_another_thread)
        thread.start()
        thread.join()

    with pytest.raises(KeyboardInterrupt), noted([], enters=meanwhile):
        log.append("never")
    assert log == ["on", "body", "off"]
