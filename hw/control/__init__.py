"""Control: the register bank, program fetch, dispatch, semaphores, counters and traps."""
