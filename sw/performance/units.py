"""Models of the four units: given when an instruction's tokens are there, when it is taken and when it is done.

Each call stands for one instruction, in order. Times are cycles since the start of the run, fractions where the bus
takes more than a cycle a beat. Every model keeps its cycles by activity, in the words of the counters.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from celosia.hw.config import Config
from celosia.hw.isa import Opcode
from celosia.hw.post.jobs import rows_wait
from celosia.hw.post.layouts import BUFFERS
from celosia.sw.performance import timings as t
from celosia.sw.performance.channels import Load, ReadChannel, WriteChannel
from celosia.sw.performance.conflicts import Rivals, Window, lost_to_jumps, share_of_array, stretched
from celosia.sw.performance.streaming import KeyStoreModel, MasksModel
from celosia.sw.performance.timings import Timings
from celosia.sw.performance.works import Beats, Fill, Product, Transfer, Work


class UnitModel:
    """What all units share. `taken`: when each instruction was; `idle_from`: the unit works no more, as far as known.

    `busy`, `stall_in`, `stall_out`: cycles of these activities; `waits`: cycles for a token, by its giver. `windows`:
    when it uses the scratchpad, as far as that matters to others.
    """

    period = t.ISSUE_PERIOD
    """Cycles between two instructions that it takes."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.idle_from = 0.0
        self.busy = self.stall_in = self.stall_out = 0.0
        self.waits = [0.0, 0.0, 0.0, 0.0]
        self.windows: list[Window] = []

    def execute(self, work: Any, ready: float) -> float:
        """Take an instruction whose tokens are there at `ready`; when its token is there. LOAD, and units in which
        several instructions are under way, have no use for it."""
        raise NotImplementedError

    def able(self) -> float:
        """From when on it can take the next instruction; infinite when that is not known yet."""
        return self.taken[-1] + self.period if self.taken else 0.0

    def _spent(self, start: float, end: float, busy: float) -> None:
        """The unit is at work from `start` (or since before) to `end`, of which it moves something in `busy`."""
        span = max(0.0, end - max(start, self.idle_from))
        self.busy += busy
        self.stall_in += span - busy
        self.idle_from = max(end, self.idle_from)


class LoadModel(UnitModel):
    """LOAD: bursts ahead of their data, as many as the bus may have outstanding."""

    period = t.TRANSFER_PERIOD

    def __init__(self, config: Config, channel: ReadChannel) -> None:
        super().__init__()
        self.channel = channel
        self.words_a_beat = max(1, config.bus.bytes // config.word_bytes)
        self.beats_a_word = max(1, config.word_bytes // config.bus.bytes)
        self.left: deque[float] = deque([0.0] * t.PLANNED)  # when each of the last instructions left the planner

    def able(self) -> float:
        """The planner holds as many instructions as it can, until one of them has made its last request."""
        return inf if len(self.channel.loads) >= t.PLANNED else super().able()

    def take(self, work: Work, ready: float) -> None:
        """Take an instruction whose tokens are there at `ready`; what it loads goes through the channel."""
        assert isinstance(work.what, Transfer)
        ready = max(ready, self.left.popleft())
        self.taken.append(ready)
        self.channel.put(Load(work.what.bursts, ready + t.REQUEST, work.signal))

    def finish(self, load: Load) -> float:
        """When the token of an instruction is there whose last burst has been requested."""
        self.left.append(load.request - t.REQUEST + t.PLANNED)
        beats = sum(load.bursts)
        self.windows.append(Window(load.first, load.last, beats // self.beats_a_word))
        done = load.last + t.LOADED + self.words_a_beat - 1
        self._spent(load.earliest - t.REQUEST + 1, done - 1, beats * self.words_a_beat)
        return done


class StoreModel(UnitModel):
    """STORE: writes are done when memory has acknowledged them."""

    period = t.TRANSFER_PERIOD

    def __init__(self, config: Config, channel: WriteChannel, rivals: Rivals) -> None:
        super().__init__()
        self.channel, self.rivals, self.config = channel, rivals, config
        self.words_a_beat = max(1, config.bus.bytes // config.word_bytes)
        self.beats_a_word = max(1, config.word_bytes // config.bus.bytes)
        self.requested: list[float] = []
        self.sent = 0.0  # the last beat

    def execute(self, work: Transfer, ready: float) -> float:
        """Take an instruction whose tokens are there at `ready`; when its token is there."""
        index = len(self.requested)
        if index >= t.PLANNED:
            ready = max(ready, self.requested[index - t.PLANNED])
        beats = sum(work.bursts)
        words = beats * self.words_a_beat // self.beats_a_word
        late = 0.0
        if self.rivals.array:
            begin = ready + t.STORE_DATA - t.STORE_READ
            share = partial(share_of_array, self.config.scratchpad.banks)
            late = stretched(self.rivals.array, begin, words, share) - begin - words
        requested, first, sent, acknowledged = self.channel.store(work.bursts, ready, late)
        self.taken.append(ready)
        self.requested.append(requested - t.STORE_REQUEST + t.PLANNED)
        # Between one instruction's last beat and the next one's first it waits for memory, or has nothing to do.
        self._memory(min(self.idle_from, first))
        done = acknowledged + t.STORED
        self._spent(ready + 1, done - 1, beats)
        self.windows.append(Window(first - t.STORE_READ, sent - t.STORE_READ, words))
        self.sent = sent
        return done

    def finish(self) -> None:
        """No instruction follows."""
        self._memory(self.idle_from)

    def _memory(self, until: float) -> None:
        wait = max(0.0, until - self.sent - 1)
        self.stall_out += wait
        self.stall_in -= wait
        self.sent = self.idle_from


class ArrayModel(UnitModel):
    """ARRAY: a tile's weights load while the one before streams, over instructions."""

    def __init__(self, timings: Timings) -> None:
        super().__init__()
        self.timings = timings
        self.tile_start = self.rows_end = -1.0
        self.ends: list[float] = []
        self.done = 0.0
        self.lists: dict[int, float] = {}  # when they are written
        self.found = 0.0  # when the last cut was
        self.store, self.masks = KeyStoreModel(), MasksModel(timings.waiting)
        self.passed = 0.0  # when the last KEYS was

    def execute(self, work: Product | Fill, ready: float) -> float:
        """Take an instruction whose tokens are there at `ready`; when its token is there."""
        index, ready = len(self.ends), max(ready, self.passed)
        if isinstance(work, Fill):
            return self._fill(work, ready)
        if index >= t.ARRAY_JOBS:
            ready = max(ready, self.ends[index - t.ARRAY_JOBS] - t.ARRAY_AHEAD)
        there = max(ready, self.lists.get(work.gathers, 0.0))
        if work.halves:
            there = self.masks.room(work.masks, max(there, self.store.ready(work.halves)))
        if not work.tiles:
            return self._skip(ready, there)
        rows, period = work.rows, max(work.rows, work.words + work.lost)
        look = t.RESOLVE_KEPT if work.gathers >= 0 or work.decides >= 0 else 0
        weights = max(there + look + self.timings.fetch, self.tile_start) + work.words + work.lost_before
        first = max(weights, self.rows_end)
        self.stall_out += first - max(self.rows_end, ready + 1) + (work.tiles - 1) * (period - rows)
        self.busy += work.tiles * rows
        self.tile_start = first + (work.tiles - 1) * period
        self.rows_end = self.idle_from = self.tile_start + rows
        self.windows.append(Window(first, self.rows_end, work.tiles * (rows + work.words)))
        self.taken.append(ready)
        self.ends.append(self.rows_end)
        self.store.passes(first, self.rows_end, work.tiles * (rows if work.halves else period - rows))
        late = self.timings.maximum if work.maxima else 0
        end = self.rows_end - 1 + self.timings.array
        if work.decides >= 0:
            there = self.found = max(end + self.timings.decide, self.found) + work.fill
            if work.halves:
                self.store.release(work.halves, self.rows_end)
                there = self.masks.walk(work.masks, work.kept, there)
            else:
                there += work.masks
            self.lists[work.decides] = end = there + t.LIST_WRITE
        self.done = max(self.done + 1, end + late + self.timings.complete)
        return self.done

    def _fill(self, work: Fill, ready: float) -> float:
        """A KEYS: it is done when it has begun."""
        self.taken.append(ready)
        self.passed = self.store.fill(work, ready)
        self.done = max(self.done + 1, self.passed + t.ARRAY_SKIP)
        return self.done

    def _skip(self, ready: float, there: float) -> float:
        """An instruction without keys."""
        self.taken.append(ready)
        self.ends.append(max(self.ends[-1] if self.ends else 0.0, there))
        self.done = max(self.done + 1, there + t.ARRAY_SKIP)
        return self.done


class PostModel(UnitModel):
    """POST: groups of slots, their parameters ahead of their use, and the row unit in the background.

    `rivals`: others that use the scratchpad. `lost`: cycles for each group of LOAD's words; `lost_a_run`: for each
    group of its own, if LOAD has no gaps.
    """

    def __init__(self, timings: Timings, rivals: Rivals, lost: float, lost_a_run: float) -> None:
        super().__init__()
        self.timings = timings
        self.rivals, self.lost, self.banks = rivals, lost, timings.config.scratchpad.banks
        self.lost_a_run = lost_a_run
        self.ends: list[float] = []  # last slot of each instruction
        self.asked = 0.0  # when the last parameter was asked for
        self.walked = 0.0  # when the results of the last RESIDUAL can be read
        self.reading = 0.0  # until when the last RESIDUAL reads its residuals
        self.drained = 0.0
        self.free = [0.0] * BUFFERS  # when each buffer of records is free, the next one to be used first
        # When the row unit is done with all rows, can be given others, and has the last ones behind its normalisers.
        self.rows_free = self.rows_open = self.rows_passed = 0.0
        self.walk = 0.0  # when it begins with the rows that it has
        self.queues = rows_wait(timings.config)

    def execute(self, work: Beats, ready: float) -> float:
        """Take an instruction whose tokens are there at `ready`; when its token is there."""
        index = len(self.ends)
        ready = max(ready, self.asked)
        if work.opcode is Opcode.TABLE:
            return self._table(ready)
        if index >= t.POST_JOBS:
            ready = max(ready, self.ends[index - t.POST_JOBS] + 1)
        self.taken.append(ready)
        last = self._groups(work, ready) if work.records else self._stream(work, ready)
        self.ends.append(last)
        self._writes(work, last)
        done = last + self.timings.lanes + t.POST_WRITE
        if work.gathers and self.queues:
            self._visits(work, last)
        if work.starts_rows:
            self._rows(work, last)
        if work.opcode is Opcode.RESIDUAL:
            self.walked, self.reading = done, last - t.RESIDUAL_AHEAD
        self.drained = max(self.drained, done)
        self._spent(ready + 1, done - 1, work.groups * work.slots)
        return done

    def _first(self, work: Beats, ready: float, records: float = 0.0) -> float:
        """First slot of an instruction taken at `ready`: after the one before, with operands, records and rows."""
        before = self.ends[-1] if self.ends else -1.0
        present = max(before + 1, max(ready + work.counts, self.walked) + t.POST_OPERAND, records)
        rows = self.rows_open if work.gathers else self.rows_free
        self.first = max(present, rows) if work.uses_rows else present
        self.stall_out += self.first - present
        self.stall_in -= self.first - present
        return self.first

    def _stream(self, work: Beats, ready: float) -> float:
        """Last slot of an instruction without records."""
        return self._end(work, self._first(work, ready), max(0, work.groups * (work.slots + work.pause) - work.pause))

    def _end(self, work: Beats, begin: float, slots: int) -> float:
        """Last of `slots` slots, one a cycle unless STORE is in the way of what they read, or LOAD of what they write.

        Where neither has a pattern they meet by chance.
        """
        rivals, by_chance = self.rivals, 1 / self.banks
        share: Callable[[float], float]
        if work.residuals and rivals.store:
            # A step of two words a turn is as fast as STORE: they go on side by side, and meet every time.
            dense = 0.5 if work.strides else 0.0
            share = partial(self._share, dense if rivals.store_dense else by_chance)
            return stretched(rivals.store, begin, slots, share) - 1
        if work.residuals or not rivals.load:
            return begin + slots - 1
        if work.paced and not self.lost:
            return stretched(rivals.load, begin, slots, lambda density: self.lost_a_run / work.slots) - 1
        if work.opcode is Opcode.NORM:
            # It writes two tensors by turns.
            share = partial(self._share, by_chance) if self.lost else (lambda density: self.lost_a_run)
        elif not (self.lost or work.jumps):
            return begin + slots - 1
        elif work.jumps or work.paced:
            share = partial(lost_to_jumps, self.lost, self.banks, work.slots)
        else:
            share = partial(self._share, self.lost)
        return stretched(rivals.load, begin, slots, share) - 1

    @staticmethod
    def _share(lost: float, density: float) -> float:
        return lost * density

    def _groups(self, work: Beats, ready: float) -> float:
        """Last slot of an instruction with records: each group waits for its own, which wait for a free buffer."""
        words, free = work.records, self.free
        slots = work.slots + (words if work.residuals else 0)
        back = self.timings.records_back if work.opcode is Opcode.NORM else t.RECORDS_BACK
        asked, there = max(ready + t.POST_ASK, self.asked), []
        for buffer in range(min(BUFFERS, work.groups)):
            asked = self._ask(max(asked, free[buffer]), words) + self._wait(asked, words)
            there.append(asked + t.POST_RECORDS - 1)
        end = self._first(work, ready, there[0]) - 1
        for group in range(work.groups):
            if group >= BUFFERS:
                asked = max(asked, free[group]) + words + self._wait(asked, words)
                there.append(asked + t.POST_RECORDS - 1)
            end = self._end(work, max(end + 1 + (work.pause if group else 0), there[group]), slots)
            free.append(end + back)
        self.free, self.asked = free[-BUFFERS:], asked
        return end

    def _wait(self, time: float, words: int) -> float:
        """Cycles that a group's records wait for ARRAY: their first word, and half of those that follow it."""
        if not self.rivals.array:
            return 0.0
        waiting = (1 + words) / 2
        return stretched(self.rivals.array, time, waiting, partial(share_of_array, self.banks)) - time - waiting

    def _ask(self, start: float, words: int) -> float:
        """Ask for a group's records: they go before the residuals that an earlier RESIDUAL still reads."""
        if start < self.reading:
            self.reading += words
            self.ends[-1] += words
            self.walked += words
            self.rows_free += words
            self.rows_open += words
            self.free[-1] += words
        return start + words

    def _writes(self, work: Beats, last: float) -> None:
        """Keep for LOAD when words go to the scratchpad with pauses between them: then it is LOAD that waits."""
        if work.paced:
            runs = work.groups * (work.slots if work.opcode is Opcode.NORM else 1)
            end = last + self.timings.lanes + t.POST_WRITE
            self.windows.append(Window(end - work.groups * work.records, end, runs))

    def _rows(self, work: Beats, last: float) -> None:
        softmax = work.opcode is Opcode.EXP
        times = self.timings
        latency = times.softmax_row if softmax else times.norm_row
        period = times.softmax_period if softmax else times.norm_period
        self.walk = last + times.sums + t.ROW_START
        if self.queues:
            taken = max(self.first + t.ROW_TAKEN, self.rows_passed)
            self.walk = max(self.walk, taken + 1)
        self.rows_free = self.rows_open = self.walk + latency + (work.starts_rows - 1) * period
        if self.queues and softmax:
            self.rows_open, self.rows_passed = taken + 1, self.rows_free - times.divider

    def _visits(self, work: Beats, last: float) -> None:
        """Rows are summed up: from the second group on nobody else reads sums meanwhile."""
        sums, begin = self.timings.sums, self.first + work.slots + self.timings.sums
        if begin < self.rows_passed:
            late = max(0.0, last + sums + 1 - max(self.walk, begin))
            self.rows_free += late
            self.rows_passed += late

    def _table(self, ready: float) -> float:
        begin = max(ready, self.drained)
        done = begin + t.POST_RECORDS + self.timings.table
        self.taken.append(ready)
        self.ends.append(max(self.ends[-1] if self.ends else 0.0, ready))
        self.asked = done
        self._spent(ready + 1, done - 1, self.timings.table)
        return done
