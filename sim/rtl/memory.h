// AXI4 memory slave: latency, bandwidth, random stalls, injected errors, protocol checks. One call a cycle, no virtual calls.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "Vtop.h"
#include "ports.h"  // generated: BUS_BYTES, MAX_BURST, ACTIVITIES

namespace celosia {

// Options of a memory, as Python passes them (see library.py).
struct Options {
    uint64_t seed;
    double stalls;         // probability that a channel is not ready, or not valid, in a cycle
    uint32_t latency;      // cycles from a read request to its first beat, and from the last beat of a write to its response
    uint32_t rate_beats;   // at most rate_beats beats in rate_cycles cycles, reads and writes each
    uint32_t rate_cycles;
    uint32_t outstanding;  // read requests, and write requests, accepted and not answered
};

struct ErrorRange {
    uint64_t begin, end;
    uint32_t reads, writes, response;
};

enum Response : uint32_t { OKAY = 0, EXOKAY = 1, SLVERR = 2, DECERR = 3 };

class Random {
public:
    explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 0x1234567ull) {}
    uint32_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 32);
    }
    bool chance(double probability) { return probability > 0 && next() < probability * 4294967296.0; }

private:
    uint64_t state_;
};

// Bytes of a port, whatever type Verilator gave it (little-endian hosts).
template <typename Port>
inline void put_bytes(Port& port, const void* bytes, size_t count) {
    std::memcpy(&port, bytes, count);
}
template <typename Port>
inline void get_bytes(const Port& port, void* bytes, size_t count) {
    std::memcpy(bytes, &port, count);
}

// The first thing that went wrong, for the host.
class Complaint {
public:
    bool any() const { return !text_.empty(); }
    const char* text() const { return text_.c_str(); }
    void clear() { text_.clear(); }
    void say(uint64_t cycle, const char* format, ...) __attribute__((format(printf, 3, 4))) {
        if (any()) return;
        char buffer[256];
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(buffer, sizeof buffer, format, arguments);
        va_end(arguments);
        text_ = "cycle " + std::to_string(cycle) + ": " + buffer;
    }

private:
    std::string text_;
};

// Once valid, a request must stay valid and unchanged until it is taken.
class Stability {
public:
    void check(Complaint& complaint, uint64_t cycle, const char* channel, bool valid, bool ready, uint64_t payload) {
        if (waiting_ && !valid) complaint.say(cycle, "%s: valid fell before ready", channel);
        if (waiting_ && valid && payload != payload_) complaint.say(cycle, "%s: payload changed while stalled", channel);
        waiting_ = valid && !ready;
        payload_ = payload;
    }
    void reset() { waiting_ = false; }

private:
    bool waiting_ = false;
    uint64_t payload_ = 0;
};

class Memory {
public:
    Memory(uint64_t bytes, const Options& options, Complaint& complaint)
        : contents(bytes), options_(options), random_(options.seed), complaint_(complaint) {}

    std::vector<uint8_t> contents;
    std::vector<ErrorRange> errors;
    uint64_t beats_read = 0, beats_written = 0;

    void set_options(const Options& options) {
        options_ = options;
        random_ = Random(options.seed);
    }

    void reset() {
        reads_.clear();
        writes_.clear();
        responses_.clear();
        early_.clear();
        ar_ready_ = aw_ready_ = w_ready_ = r_valid_ = b_valid_ = false;
        ar_stable_.reset();
        aw_stable_.reset();
        w_stable_.reset();
    }

    // Before the clock edge, with the accelerator's outputs settled: what happens at the edge, and what to drive after it.
    void sample(const Vtop& top, uint64_t cycle) {
        read_credit_ = credit(read_credit_);
        write_credit_ = credit(write_credit_);
        sample_ar(top, cycle);
        sample_r(top, cycle);
        sample_aw(top, cycle);
        sample_w(top, cycle);
        sample_b(top, cycle);
    }

    void drive(Vtop& top) const {
        top.m_axi_arready = ar_ready_;
        top.m_axi_awready = aw_ready_;
        top.m_axi_wready = w_ready_;
        top.m_axi_rvalid = r_valid_;
        top.m_axi_bvalid = b_valid_;
        if (r_valid_) {
            top.m_axi_rid = r_id_;
            top.m_axi_rlast = r_last_;
            top.m_axi_rresp = r_response_;
            put_bytes(top.m_axi_rdata, r_data_, BUS_BYTES);
        }
        if (b_valid_) {
            top.m_axi_bid = b_id_;
            top.m_axi_bresp = b_response_;
        }
    }

private:
    struct Burst {
        uint64_t address = 0, due = 0;
        uint32_t beats = 0, done = 0, id = 0;
        std::vector<uint8_t> data, strobes;
    };
    struct Beat {
        uint8_t data[BUS_BYTES], strobes[(BUS_BYTES + 7) / 8];
        bool last;
    };

    // A beat costs rate_cycles, a cycle brings rate_beats; what an idle channel saves up is less than two beats.
    int64_t credit(int64_t now) const {
        const int64_t sum = now + options_.rate_beats, most = int64_t(options_.rate_cycles) + options_.rate_beats - 1;
        return sum > most ? most : sum;
    }
    bool stalled() { return random_.chance(options_.stalls); }

    void check_request(const char* channel, uint64_t cycle, uint64_t address, uint32_t len, uint32_t size, uint32_t burst) {
        if (burst != 1) complaint_.say(cycle, "%s: burst type %u, not INCR", channel, burst);
        if ((1u << size) != BUS_BYTES) complaint_.say(cycle, "%s: size %u, not the bus's width", channel, size);
        if (len + 1 > MAX_BURST) complaint_.say(cycle, "%s: %u beats, more than %u", channel, len + 1, MAX_BURST);
        if (address % BUS_BYTES) complaint_.say(cycle, "%s: address %#llx not aligned", channel, (unsigned long long)address);
        if ((address & 4095) + uint64_t(len + 1) * BUS_BYTES > 4096)
            complaint_.say(cycle, "%s: %u beats at %#llx cross 4 KiB", channel, len + 1, (unsigned long long)address);
    }

    uint32_t response(uint64_t address, bool write) const {
        if (address + BUS_BYTES > contents.size()) return DECERR;
        for (const ErrorRange& range : errors)
            if (address < range.end && address + BUS_BYTES > range.begin && (write ? range.writes : range.reads))
                return range.response;
        return OKAY;
    }

    void sample_ar(const Vtop& top, uint64_t cycle) {
        const bool valid = top.m_axi_arvalid;
        const uint64_t payload = uint64_t(top.m_axi_araddr) ^ uint64_t(top.m_axi_arlen) << 56 ^ uint64_t(top.m_axi_arid) << 52;
        ar_stable_.check(complaint_, cycle, "AR", valid, ar_ready_, payload);
        if (valid && ar_ready_) {
            check_request("AR", cycle, top.m_axi_araddr, top.m_axi_arlen, top.m_axi_arsize, top.m_axi_arburst);
            Burst burst;
            burst.address = top.m_axi_araddr;
            burst.due = cycle + options_.latency;
            burst.beats = top.m_axi_arlen + 1;
            burst.id = top.m_axi_arid;
            reads_.push_back(std::move(burst));
        }
        ar_ready_ = reads_.size() < options_.outstanding && !stalled();
    }

    void sample_r(const Vtop& top, uint64_t cycle) {
        if (r_valid_ && top.m_axi_rready) {
            r_valid_ = false;
            beats_read++;
        }
        if (r_valid_ || reads_.empty() || reads_.front().due > cycle + 1) return;
        if (read_credit_ < options_.rate_cycles || stalled()) return;
        read_credit_ -= options_.rate_cycles;
        Burst& burst = reads_.front();
        const uint64_t address = burst.address + uint64_t(burst.done) * BUS_BYTES;
        r_valid_ = true;
        r_id_ = burst.id;
        r_response_ = response(address, false);
        r_last_ = ++burst.done == burst.beats;
        // What comes with an error is not the memory's content.
        if (r_response_ == OKAY)
            std::memcpy(r_data_, &contents[address], BUS_BYTES);
        else
            std::memset(r_data_, 0xEE, BUS_BYTES);
        if (r_last_) reads_.pop_front();
    }

    void sample_aw(const Vtop& top, uint64_t cycle) {
        const bool valid = top.m_axi_awvalid;
        const uint64_t payload = uint64_t(top.m_axi_awaddr) ^ uint64_t(top.m_axi_awlen) << 56 ^ uint64_t(top.m_axi_awid) << 52;
        aw_stable_.check(complaint_, cycle, "AW", valid, aw_ready_, payload);
        if (valid && aw_ready_) {
            check_request("AW", cycle, top.m_axi_awaddr, top.m_axi_awlen, top.m_axi_awsize, top.m_axi_awburst);
            Burst burst;
            burst.address = top.m_axi_awaddr;
            burst.beats = top.m_axi_awlen + 1;
            burst.id = top.m_axi_awid;
            writes_.push_back(std::move(burst));
        }
        aw_ready_ = writes_.size() + responses_.size() < options_.outstanding && !stalled();
    }

    void sample_w(const Vtop& top, uint64_t cycle) {
        const bool valid = top.m_axi_wvalid;
        if (valid || w_was_valid_) {
            Beat beat;
            get_bytes(top.m_axi_wdata, beat.data, BUS_BYTES);
            std::memset(beat.strobes, 0, sizeof beat.strobes);
            get_bytes(top.m_axi_wstrb, beat.strobes, sizeof beat.strobes);
            beat.last = top.m_axi_wlast;
            w_stable_.check(complaint_, cycle, "W", valid, w_ready_, hash(beat));
            if (valid && w_ready_) {
                beats_written++;
                write_credit_ -= options_.rate_cycles;
                early_.push_back(beat);
            }
        }
        w_was_valid_ = valid;
        // Data may come before their address; a few beats of them are accepted.
        while (!early_.empty() && !writes_.empty()) {
            take(early_.front(), cycle);
            early_.pop_front();
        }
        w_ready_ = early_.size() < 16 && write_credit_ + options_.rate_beats >= options_.rate_cycles && !stalled();
    }

    void take(const Beat& beat, uint64_t cycle) {
        Burst& burst = writes_.front();
        burst.data.insert(burst.data.end(), beat.data, beat.data + BUS_BYTES);
        burst.strobes.insert(burst.strobes.end(), beat.strobes, beat.strobes + sizeof beat.strobes);
        const bool last = ++burst.done == burst.beats;
        if (beat.last != last) complaint_.say(cycle, "W: last is %d in beat %u of %u", beat.last, burst.done, burst.beats);
        if (last) {
            burst.due = cycle + options_.latency;
            responses_.push_back(std::move(burst));
            writes_.pop_front();
        }
    }

    void sample_b(const Vtop& top, uint64_t cycle) {
        if (b_valid_ && top.m_axi_bready) b_valid_ = false;
        if (b_valid_ || responses_.empty() || responses_.front().due > cycle + 1 || stalled()) return;
        // Not a cycle before its response is a write visible: who reads too early gets the old contents.
        const Burst& burst = responses_.front();
        b_valid_ = true;
        b_id_ = burst.id;
        b_response_ = OKAY;
        for (uint32_t beat = 0; beat < burst.beats; beat++) {
            const uint64_t address = burst.address + uint64_t(beat) * BUS_BYTES;
            if (const uint32_t answer = response(address, true)) {
                b_response_ = answer;
                continue;
            }
            const uint8_t* data = &burst.data[size_t(beat) * BUS_BYTES];
            const uint8_t* strobes = &burst.strobes[size_t(beat) * sizeof(Beat::strobes)];
            for (uint32_t byte = 0; byte < BUS_BYTES; byte++)
                if (strobes[byte / 8] >> byte % 8 & 1) contents[address + byte] = data[byte];
        }
        responses_.pop_front();
    }

    static uint64_t hash(const Beat& beat) {
        uint64_t sum = beat.last;
        for (uint8_t byte : beat.data) sum = sum * 0x100000001B3ull ^ byte;
        for (uint8_t byte : beat.strobes) sum = sum * 0x100000001B3ull ^ byte;
        return sum;
    }

    Options options_;
    Random random_;
    Complaint& complaint_;
    std::deque<Burst> reads_, writes_, responses_;
    std::deque<Beat> early_;
    Stability ar_stable_, aw_stable_, w_stable_;
    int64_t read_credit_ = 0, write_credit_ = 0;
    bool ar_ready_ = false, aw_ready_ = false, w_ready_ = false, r_valid_ = false, b_valid_ = false;
    bool r_last_ = false, w_was_valid_ = false;
    uint32_t r_id_ = 0, r_response_ = 0, b_id_ = 0, b_response_ = 0;
    uint8_t r_data_[BUS_BYTES] = {};
};

}  // namespace celosia
