"""Replays a program on the models of fetch, dispatch, tokens and units: the next thing that happens, until all is done.

What happens is few and large: an instruction is dispatched, a unit takes one and knows when it will be done with it, a
LOAD's bursts are requested up to the next of these. No cycle is stepped through. Everything in a unit, and all tokens
of a pair of units, are in order; so it is enough to look at the head of each queue.
"""

from collections import deque
from dataclasses import dataclass
from math import inf

from celosia.hw.isa import Unit
from celosia.sw.performance import timings as t
from celosia.sw.performance.channels import Memory, ReadChannel, WriteChannel
from celosia.sw.performance.conflicts import Rivals, lost_a_group, lost_a_run
from celosia.sw.performance.fetch import Fetch
from celosia.sw.performance.timings import timings
from celosia.sw.performance.units import ArrayModel, LoadModel, PostModel, StoreModel, UnitModel
from celosia.sw.performance.works import Work, Works


@dataclass(frozen=True)
class Replay:
    """How it went. `units`: models, by number, with their cycles. `rivals`: when they used the scratchpad."""

    cycles: float
    units: list[UnitModel]
    rivals: Rivals


def replay(works: Works, memory: Memory) -> Replay:
    """Cycles of a program from its start to its end.

    What a unit loses to others in the scratchpad depends on what they will do: that is taken from a pass without.
    """
    alone = _accelerator(works, memory, Rivals()).run()
    return _accelerator(works, memory, alone.rivals).run() if works.rivalry(memory.period) else alone


def _accelerator(works: Works, memory: Memory, rivals: Rivals) -> "Machine":
    """With an array and POST."""
    config, times = works.config, timings(works.config)
    lost = lost_a_group(config, memory.period), lost_a_run(config, memory.period)
    return Machine(works, memory, rivals, ArrayModel(times), PostModel(times, rivals, *lost))


class Machine:
    """LOAD, STORE and control, around the models of the units in between.

    `queues`: instructions that were dispatched and not taken, with the cycle of their dispatch. `inside`: when
    something happens next inside a unit that does not know when it will be done; infinite where there is none.
    """

    inside = inf

    def __init__(self, works: Works, memory: Memory, rivals: Rivals, array: UnitModel, post: UnitModel) -> None:
        config = works.config
        self.works, self.depth = works.works, config.control.queue + t.ISSUE_HOLDS
        self.channel = ReadChannel(config, memory, rivals.post)
        self.fetch = Fetch(config, works.fetches, self.channel)
        self.load = LoadModel(config, self.channel)
        self.store = StoreModel(config, WriteChannel(config, memory), rivals)
        self.units = [self.load, array, post, self.store]
        self.queues: list[deque[tuple[Work, float]]] = [deque() for _ in Unit]
        self.tokens: list[list[deque[float]]] = [[deque() for _ in Unit] for _ in Unit]  # [taker][giver]
        self.heads = [0.0] * len(Unit)  # when each unit's next instruction stands at the head of its queue
        self.offers = [inf] * len(Unit)  # when each unit can take it
        self.placed = 0  # instructions dispatched
        self.time = 0.0  # of the last dispatch
        self.end = 0.0

    def run(self) -> Replay:
        """All of it."""
        self.channel.advance(inf)
        self.fetch.header()
        dispatch, request = self._dispatch(), self.channel.next()
        while True:
            offer = min(self.offers)
            if self.inside < inf and self.inside <= min(request, dispatch, offer):
                self._inside()
            elif request <= dispatch and request <= offer:
                if request == inf:
                    break
                self._request(min(dispatch, offer, self.inside))
                request = self.channel.next()
            elif dispatch <= offer:
                self._place(dispatch)
                dispatch, request = inf, self.channel.next()
            else:
                unit = self.offers.index(offer)
                self._take(unit)
                if unit == Unit.LOAD:
                    request = self.channel.next()
            if dispatch == inf:
                dispatch = self._dispatch()
        self.store.finish()
        last = max(self.end, self.time + 1, self.fetch.ready(len(self.works) + 1))
        _, array, post, _ = self.units
        rivals = Rivals(
            load=self.load.windows,
            store=self.store.windows,
            post=post.windows,
            array=array.windows,
            store_dense=self.store.channel.dense,
        )
        return Replay(last + t.END, list(self.units), rivals)

    def _inside(self) -> None:
        """What happens next inside a unit."""
        raise NotImplementedError

    def _dispatch(self) -> float:
        """When the next instruction can be dispatched; infinite when that is not known yet."""
        if self.placed == len(self.works):
            return inf
        unit = self.works[self.placed].unit
        if len(self.queues[unit]) >= self.depth:
            return inf
        taken = self.units[unit].taken
        first = len(taken) + len(self.queues[unit]) - self.depth  # what stood in its place
        time = max(self.time + 1, self.fetch.ready(self.placed + 1))
        return max(time, taken[first] + 1) if first >= 0 else time

    def _place(self, time: float) -> None:
        """Dispatch an instruction."""
        work = self.works[self.placed]
        self.placed, self.time = self.placed + 1, time
        self.fetch.dispatched(time)
        self.queues[work.unit].append((work, time))
        if len(self.queues[work.unit]) == 1:
            self._offer(work.unit)

    def _offer(self, unit: int) -> None:
        """Find out when a unit can take its next instruction; infinite when a token is still unknown."""
        self.offers[unit] = inf
        queue, tokens = self.queues[unit], self.tokens[unit]
        if not queue or (able := self.units[unit].able()) == inf:
            return
        work, dispatched = queue[0]
        self.heads[unit] = time = max(dispatched + t.ISSUE, able)
        for giver in work.wait:
            if not tokens[giver]:
                return
            time = max(time, tokens[giver][0])
        self.offers[unit] = time

    def _take(self, unit: int) -> None:
        """A unit takes its next instruction."""
        work, _ = self.queues[unit].popleft()
        model, ready = self.units[unit], self.heads[unit]
        if work.wait:
            ready = _wait(model, work.wait, self.tokens[unit], ready)
        self._begin(work, ready)
        self._offer(unit)

    def _begin(self, work: Work, ready: float) -> None:
        """A unit takes an instruction whose tokens are there at `ready`."""
        if work.unit == Unit.LOAD:
            self.load.take(work, ready)
        else:
            self._give(work.unit, work.signal, self.units[work.unit].execute(work.what, ready))

    def _request(self, until: float) -> None:
        """The read channel goes on."""
        load = self.channel.advance(until)
        if load is not None:
            self._give(Unit.LOAD, load.signal, self.load.finish(load))
            self._offer(Unit.LOAD)
        else:
            self.fetch.request()

    def _give(self, giver: int, takers: tuple[int, ...], done: float) -> None:
        """An instruction is done: its tokens."""
        self.end = max(self.end, done)
        for taker in takers:
            self.tokens[taker][giver].append(done)
            if self.offers[taker] == inf:
                self._offer(taker)


def _wait(model: UnitModel, wait: tuple[int, ...], tokens: list[deque[float]], ready: float) -> float:
    """When all tokens are there. Of those missing, the counters name the lowest."""
    for giver in wait:
        token = tokens[giver].popleft()
        if token > ready:
            idle = token - max(ready, model.idle_from)
            if idle > 0:
                model.waits[giver] += idle
            ready = token
    return ready
