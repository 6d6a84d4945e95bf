// The C interface of a compiled accelerator with its memory. Instances are independent of one another.

#include <memory>

#include "memory.h"
#include "registers.h"
#include "verilated.h"

#define API extern "C" __attribute__((visibility("default")))

// Verilator keeps this word for itself.
#define INTERRUPT_PORT __SYM__interrupt

namespace celosia {

// A change of what a unit does. `pc`: instruction, or all ones where the accelerator does not tell.
struct Event {
    uint64_t cycle;
    uint32_t pc;
    uint8_t unit, code;
    uint16_t reserved;
};

enum Status : int32_t { INTERRUPT = 0, LIMIT = 1, PROTOCOL = 2, ERROR_RESPONSE = 3 };

constexpr uint32_t RESET_CYCLES = 8;
constexpr uint32_t REGISTER_LIMIT = 10000;  // cycles that a register access may take

class Device {
public:
    Device(uint64_t bytes, const Options& options)
        : context_(new VerilatedContext), top_(new Vtop(context_.get(), "top")), memory(bytes, options, complaint), host(complaint) {
        reset(RESET_CYCLES);
    }
    ~Device() { top_->final(); }

    void reset(uint32_t cycles) {
        memory.reset();
        host.reset();
        top_->aresetn = 0;
        for (uint32_t i = 0; i < cycles; i++) {
            clock(false);
            if (top_->m_axi_arvalid || top_->m_axi_awvalid || top_->m_axi_wvalid) {
                // The first edge in reset is the one that clears.
                if (i > 0) complaint.say(cycle, "m_axi: valid in reset");
            }
        }
        top_->aresetn = 1;
    }

    void tick() {
        clock(true);
        cycle++;
        if (tracing) trace();
    }

    int32_t run(uint64_t limit) {
        for (uint64_t i = 0; i < limit && !top_->INTERRUPT_PORT; i++) {
            tick();
            if (complaint.any()) return PROTOCOL;
        }
        return top_->INTERRUPT_PORT ? INTERRUPT : LIMIT;
    }

    int32_t finish_access() {
        for (uint32_t i = 0; host.busy(); i++) {
            if (i == REGISTER_LIMIT) {
                host.reset();
                return LIMIT;
            }
            tick();
            if (complaint.any()) return PROTOCOL;
        }
        return host.response() ? ERROR_RESPONSE : INTERRUPT;
    }

    bool interrupt() const { return top_->INTERRUPT_PORT; }

    void start_trace() {
        std::memset(seen_, 0xFF, sizeof seen_);
        events.clear();
        tracing = true;
    }

    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vtop> top_;
    Complaint complaint;
    Memory memory;
    RegisterMaster host;
    uint64_t cycle = 0;
    bool tracing = false;
    std::vector<Event> events;

private:
    // Inputs settle while the clock is low; both sides of the bus are sampled before it rises.
    void clock(bool models) {
        top_->aclk = 0;
        memory.drive(*top_);
        host.drive(*top_);
        top_->eval();
        if (models) {
            memory.sample(*top_, cycle);
            host.sample(*top_, cycle);
        }
        top_->aclk = 1;
        top_->eval();
    }

    void trace() {
#define CELOSIA_ACTIVITY(unit, activity, counter) note(unit, top_->activity, counter);
#define CELOSIA_PC(port) top_->port
#define CELOSIA_NO_PC 0xFFFFFFFFu
        ACTIVITIES(CELOSIA_ACTIVITY)
    }
    void note(uint8_t unit, uint8_t code, uint32_t pc) {
        const uint64_t now = uint64_t(pc) << 8 | code;
        if (seen_[unit] == now) return;
        seen_[unit] = now;
        events.push_back({cycle, pc, unit, code, 0});
    }

    uint64_t seen_[8];
};

}  // namespace celosia

using celosia::Device;

// Nobody asks for simulated time.
double sc_time_stamp() { return 0; }

API Device* celosia_create(uint64_t bytes, const celosia::Options* options) { return new Device(bytes, *options); }
API void celosia_destroy(Device* device) { delete device; }
API void celosia_reset(Device* device, uint32_t cycles) {
    device->complaint.clear();
    device->reset(cycles);
}
API void celosia_set_options(Device* device, const celosia::Options* options) { device->memory.set_options(*options); }
API uint8_t* celosia_memory(Device* device) { return device->memory.contents.data(); }
API uint64_t celosia_memory_bytes(Device* device) { return device->memory.contents.size(); }
API void celosia_reserve(Device* device, uint64_t bytes) {
    if (bytes > device->memory.contents.size()) device->memory.contents.resize(bytes);
}
API void celosia_inject(Device* device, const celosia::ErrorRange* range) { device->memory.errors.push_back(*range); }
API void celosia_clear_errors(Device* device) { device->memory.errors.clear(); }
API int32_t celosia_read_register(Device* device, uint32_t offset, uint32_t* value) {
    device->host.begin_read(offset);
    const int32_t status = device->finish_access();
    *value = device->host.value();
    return status;
}
API int32_t celosia_write_register(Device* device, uint32_t offset, uint32_t value) {
    device->host.begin_write(offset, value);
    return device->finish_access();
}
API int32_t celosia_run(Device* device, uint64_t limit) { return device->run(limit); }
API int32_t celosia_step(Device* device, uint64_t cycles) {
    for (uint64_t i = 0; i < cycles; i++) {
        device->tick();
        if (device->complaint.any()) return celosia::PROTOCOL;
    }
    return device->interrupt() ? celosia::INTERRUPT : celosia::LIMIT;
}
API uint64_t celosia_cycles(Device* device) { return device->cycle; }
API uint64_t celosia_beats_read(Device* device) { return device->memory.beats_read; }
API uint64_t celosia_beats_written(Device* device) { return device->memory.beats_written; }
API int32_t celosia_interrupt(Device* device) { return device->interrupt(); }
API const char* celosia_complaint(Device* device) { return device->complaint.text(); }
API void celosia_trace(Device* device, int32_t on) {
    if (on)
        device->start_trace();
    else
        device->tracing = false;
}
API const celosia::Event* celosia_events(Device* device) { return device->events.data(); }
API uint64_t celosia_event_count(Device* device) { return device->events.size(); }
