"""How long a program will take, why, and what it costs: a replay on the timings of the hardware, without simulation."""

from celosia.sw.performance.actions import Energy, energy
from celosia.sw.performance.channels import Memory
from celosia.sw.performance.prediction import OPERATION_ERROR, WORKLOAD_ERROR, Prediction, predict
from celosia.sw.performance.workloads import workload

__all__ = ["OPERATION_ERROR", "WORKLOAD_ERROR", "Energy", "Memory", "Prediction", "energy", "predict", "workload"]
