"""Heads of a layer under a policy, as jobs of the co-processor's core (docs/coprocessor.md)."""

from typing import Any

from celosia.hw.hdp.config import FRACTION
from celosia.hw.hdp.core.config import BLOCK, CoreConfig
from celosia.hw.hdp.core.layouts import ALIGNED
from celosia.hw.hdp.layouts import RULES
from celosia.hw.hdp.widths import RHO_ONE
from celosia.sw.compiler.buffers import CompileError
from celosia.sw.golden.hdp import Pruned, tau_limit
from celosia.sw.model.hdp.policy import HdpPolicy, Selection, Softmax
from celosia.sw.model.quantised import QuantisedEncoder


def core_job(
    config: CoreConfig,
    policy: HdpPolicy,
    encoder: QuantisedEncoder,
    index: int,
    length: int,
    row: int = 0,
    *,
    causal: bool = False,
) -> dict[str, Any]:
    """Fields of `HeadJob` of any head of layer `index`, of `length` tokens, in rows from `row` on of all memories.

    A layer that prunes nothing, with rho -1 and no tau, needs no integer pass: its heads are dense.
    Errors: CompileError that says what would work, when the core cannot do what is asked for.
    """
    _check_policy(config, policy, encoder)
    if not 1 <= length <= config.length:
        raise CompileError(f"a head must have from 1 to {config.length} tokens, the core's length, not {length}")
    if row % ALIGNED or not 0 <= row <= config.rows - length:
        nearest = max(0, min(row, config.rows - length)) // ALIGNED * ALIGNED
        raise CompileError(
            f"a head of {length} tokens must begin at a multiple of {ALIGNED} and end within {config.rows} rows, "
            f"such as at {nearest}, not at {row}"
        )
    tau = policy.tau[index] if policy.tau else None
    if tau is not None and not config.tau:
        raise CompileError("a core without tau cannot prune heads; without tau in the policy it can run it")
    try:
        limit = None if tau is None else tau_limit(tau, length)
    except ValueError as error:
        raise CompileError(str(error)) from None
    layer = encoder.layers[index]
    (mult, shift), (mant, mant_shift) = layer.score, layer.context
    return {
        "length": length,
        "query": row,
        "key": row,
        "value": row,
        "causal": causal,
        "dense": policy.rho[index] == -RHO_ONE and limit is None,
        "approximate": policy.approximate,
        "headed": limit is not None,
        **RULES[policy.importance],
        "rho": policy.rho[index],
        "limit": limit or 0,
        "score_mult": mult,
        "score_shift": shift,
        "mant": mant,
        "mant_shift": mant_shift,
    }


def _check_policy(config: CoreConfig, policy: HdpPolicy, encoder: QuantisedEncoder) -> None:
    if len(policy.rho) != len(encoder.layers):
        raise CompileError(f"the policy has rho for {len(policy.rho)} layers; this encoder has {len(encoder.layers)}")
    if (channels := encoder.hidden // encoder.heads) > config.width:
        raise CompileError(f"heads of {channels} channels exceed the core's width of {config.width}")
    wanted = {
        "block": (str(policy.block), f"{BLOCK}x{BLOCK}"),
        "pruned": (policy.pruned, Pruned.EXCLUDED),
        "fraction": (policy.fraction, FRACTION),
        "selection": (policy.selection, Selection.THRESHOLD),
        "cascade": (list(policy.cascade), []),
    }
    for name, (given, possible) in wanted.items():
        if given != possible:
            raise CompileError(f"the core cannot run a policy with {name} = {given}; {name} = {possible} would do")
    if policy.importance not in config.rules:
        would = " or ".join(config.rules)
        raise CompileError(f"this core is not built for importance = {policy.importance}; {would} would do")
    softmax = encoder.softmax if policy.softmax is Softmax.MODEL else policy.softmax.value
    if softmax != config.softmax:
        raise CompileError(f"the softmax of this core is {config.softmax}; a core with softmax = {softmax} would do")
