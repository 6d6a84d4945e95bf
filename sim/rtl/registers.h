// AXI4-Lite master: one transaction at a time, for the host's register accesses.
#pragma once

#include "memory.h"

namespace celosia {

class RegisterMaster {
public:
    explicit RegisterMaster(Complaint& complaint) : complaint_(complaint) {}

    void begin_read(uint32_t offset) {
        *this = RegisterMaster(complaint_, offset, 0);
        ar_valid_ = r_ready_ = busy_ = true;
    }
    void begin_write(uint32_t offset, uint32_t value) {
        *this = RegisterMaster(complaint_, offset, value);
        aw_valid_ = w_valid_ = b_ready_ = busy_ = true;
    }
    void reset() { *this = RegisterMaster(complaint_, 0, 0); }
    bool busy() const { return busy_; }
    uint32_t value() const { return value_; }
    uint32_t response() const { return response_; }

    void sample(const Vtop& top, uint64_t cycle) {
        if (!busy_) {
            if (top.s_axi_bvalid || top.s_axi_rvalid) complaint_.say(cycle, "s_axi: a response without a request");
            return;
        }
        if (aw_valid_ && top.s_axi_awready) aw_valid_ = false;
        if (w_valid_ && top.s_axi_wready) w_valid_ = false;
        if (ar_valid_ && top.s_axi_arready) ar_valid_ = false;
        if (b_ready_ && top.s_axi_bvalid) {
            if (aw_valid_ || w_valid_) complaint_.say(cycle, "s_axi: a response before the request was taken");
            response_ = top.s_axi_bresp;
            busy_ = false;
        } else if (r_ready_ && top.s_axi_rvalid) {
            response_ = top.s_axi_rresp;
            value_ = top.s_axi_rdata;
            busy_ = false;
        }
        if (!busy_) b_ready_ = r_ready_ = false;
    }

    void drive(Vtop& top) const {
        top.s_axi_awvalid = aw_valid_;
        top.s_axi_awaddr = offset_;
        top.s_axi_wvalid = w_valid_;
        top.s_axi_wdata = value_;
        top.s_axi_wstrb = 15;
        top.s_axi_bready = b_ready_;
        top.s_axi_arvalid = ar_valid_;
        top.s_axi_araddr = offset_;
        top.s_axi_rready = r_ready_;
    }

private:
    RegisterMaster(Complaint& complaint, uint32_t offset, uint32_t value)
        : complaint_(complaint), offset_(offset), value_(value) {}
    RegisterMaster& operator=(const RegisterMaster& other) {
        offset_ = other.offset_;
        value_ = other.value_;
        response_ = 0;
        aw_valid_ = w_valid_ = ar_valid_ = b_ready_ = r_ready_ = busy_ = false;
        return *this;
    }

    Complaint& complaint_;
    uint32_t offset_ = 0, value_ = 0, response_ = 0;
    bool aw_valid_ = false, w_valid_ = false, ar_valid_ = false, b_ready_ = false, r_ready_ = false, busy_ = false;
};

}  // namespace celosia
