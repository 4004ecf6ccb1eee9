"""A lifetime's two loops over its steps: forward, and back.

Weights are not taped. The vectors that a step's update was made of are, or can be made again from
what is taped, so the adjoint gets the weights before a step back from those after it: by
subtracting the same outer products again where that is possible (`Schedule.undoes`), else by
repeating the updates of a segment from its checkpoint. Undoing starts afresh from every
checkpoint too, so that rounding errors cannot grow over more than a segment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rulesearch.kernels.fused import models, synapses
from rulesearch.kernels.fused.layout import unasked
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.pathways import Carrier

_FORWARD = '''\
@njit(**FLAGS)
def forward(s, at, order, x, slopes, {noise}{labels}, query_labels, keep, lowest, starts, out):
    """The online pass and the query loss; out[:] = loss, accuracy, loss before the first step."""
    depth = len(at) - 1
    kept = 0
    clear(pointer(s, at[0, SCRATCH] + at[0, BLOCK]), at[0, BLOCK])
    clear(pointer(s, at[0, FRAMES]), at[0, FRAME])
{begin}    # Without a step, then with all: `query` is inlined, and one call of it saves a tenth
    # of the compilation.
    for steps in (0, len(x)):
        for t in range(steps):
{step}
        if steps > 0:
            f = frame(at, steps - 1, keep)
            b = at[0, SCRATCH] + ((steps - 1) & 1) * at[0, BLOCK]
            for l in range(depth):
                change(s, at, l, f, b, order)
        loss, accuracy = query(s, at, query_labels{query}, keep)
        if steps == 0:
            out[2] = loss
    out[0] = loss
    out[1] = accuracy
'''

_STEP = """\
{notes}            before = frame(at, t - 1, keep)
            f = frame(at, t, keep)
            b = at[0, SCRATCH] + (t & 1) * at[0, BLOCK]
            b_before = at[0, SCRATCH] + (1 - (t & 1)) * at[0, BLOCK]
            pixels(s, at, f, x, slopes, t){noise}
            list_rows(s, at, order, f, before)
            for l in range(depth):
                drive(s, at, l, before, b_before, f, order)
                if l < depth - 1:
                    hidden(s, at, l + 1, f{hidden})
            if keep and kept < len(starts) and t == starts[kept]:
                checkpoint = at[0, CHECKPOINTS] + kept * at[0, WEIGHTS]
                copy(pointer(s, at[0, W]), pointer(s, checkpoint), at[0, WEIGHTS])
                kept += 1
            {output}
            for l in range(depth - 1, -1, -1):
{calls}"""

_FORWARD_ASKED = '''\
@njit(**FLAGS)
def forward(s, at, order, x, slopes, {noise}{labels}, targets, asked, keep, lowest, starts, out):
    """The online pass, and the query after some of its steps.

    out[:] = loss and accuracy, means over these, and the loss before the first step, likewise by
    the targets of all. `asked` has a row for each: the number of steps, and the block of weights
    that Λ of this query is kept in.
    """
    depth = len(at) - 1
    kept = 0
    loss, accuracy, first = F(0.0), F(0.0), F(0.0)
    clear(pointer(s, at[0, SCRATCH] + at[0, BLOCK]), at[0, BLOCK])
    clear(pointer(s, at[0, FRAMES]), at[0, FRAME])
{begin}    end = 0
    for i in range(-len(asked), len(asked) + 1):
        begin = end
        if i >= 0:
            end = asked[i, 0] if i < len(asked) else len(x)
        for t in range(begin, end):
{step}
        if end > begin:
            f = frame(at, end - 1, keep)
            b = at[0, SCRATCH] + ((end - 1) & 1) * at[0, BLOCK]
            for l in range(depth):
                change(s, at, l, f, b, order)
            clear(pointer(s, b), at[0, BLOCK])  # nothing is pending
        if i == len(asked):
            break
        one, right = query_answers(s, at, targets[i]{query}, keep)  # of the first, from the end
        if i < 0:
            first += one
            continue
        loss += one
        accuracy += right
        if keep:
            query_adjoint(s, at, len(targets[0])){biases}
            place = at[0, CHECKPOINTS] + asked[i, 1] * at[0, WEIGHTS]
            copy(pointer(s, at[0, LAMBDA]), pointer(s, place), at[0, WEIGHTS])
    out[0] = loss / F(len(asked))
    out[1] = accuracy / F(len(asked))
    out[2] = first / F(len(asked))
'''

_ADJOINT = '''\
@njit(**FLAGS)
def adjoint(s, at, order, {labels}, {given}, starts, idle, table):
    """The gradient of the query loss with respect to θ, after a `forward` that kept its tape.

    `idle` is the address of the function of idle terms, and 0 if there are none.
    """
    depth = len(at) - 1
    steps = len({labels})
    home = at[0, W]
    i = len(starts)  # of the segment; its checkpoint is read when its last step is reached
{begin}
    clear(pointer(s, at[0, A_THETA]), at[0, A_THETA] - at[0, THETA])
    # There is no step after the last: its vectors are zero.
    clear(pointer(s, at[0, SCRATCH] + (steps & 1) * at[0, BLOCK]), at[0, BLOCK])
    for t in range(steps - 1, -1, -1):
        f = frame(at, t, True)
        after = frame(at, t + 1, True) if t < steps - 1 else f
        b = at[0, SCRATCH] + (t & 1) * at[0, BLOCK]
        b_after = at[0, SCRATCH] + (1 - (t & 1)) * at[0, BLOCK]
{recover}
{note}        list_rows(s, at, order, f, after)
{ask}        clear(pointer(s, b + at[0, ADJOINTS]), at[0, BLOCK] - at[0, ADJOINTS])
        for l in range(depth):
{step}
        output_adjoint(s, at, f, b{answer})
        for l in range(depth - 1, 0, -1):
            drive_adjoint(s, at, l, f, b, order)
            hidden_adjoint(s, at, l, f, b)
{biases}    {use}(at, home)
'''

#: Where Λ of biases comes to be that before the step.
_BIASES = """\
        for l in range(depth):
            biases_adjoint(s, at, l, f, b)
"""

#: Where the query is asked Λ is first brought to what it is after this step, and the blocks of the
#: step after it, which were pending, are as if there was none.
_ASK = """\
        if i_asked > 0 and asked[i_asked - 1, 0] == t + 1:
            i_asked -= 1
            for l in range(depth):
{bring}
            place = at[0, CHECKPOINTS] + asked[i_asked, 1] * at[0, WEIGHTS]
            parts = F(len(asked))
            add_share(pointer(s, place), pointer(s, at[0, LAMBDA]), at[0, WEIGHTS], parts)
            clear(pointer(s, b_after), at[0, BLOCK])
"""

#: Λ of what no query depends on.
_CLEAR = "clear(pointer(s, at[0, UNASKED]), at[0, LAMBDA] + at[0, WEIGHTS] - at[0, UNASKED])"

_CALL_IDLE = ["if idle != 0:", "    call_idle(idle, s, at, order, table, l, f)"]

_UNDO = """\
        exact = t == starts[i - 1]
        if exact:
            i -= 1
            checkpoint = at[0, CHECKPOINTS] + i * at[0, WEIGHTS]
            copy(pointer(s, checkpoint), pointer(s, at[0, W]), at[0, WEIGHTS])
"""

_REPLAY = """\
        if t == steps - 1 or t < starts[i]:
            i -= 1
            for u in range(starts[i], t):
                here = at[0, CHECKPOINTS] + (i + u + 1 - starts[i]) * at[0, WEIGHTS]
                copy(pointer(s, here - at[0, WEIGHTS]), pointer(s, here), at[0, WEIGHTS])
                {use}(at, here)
{note}                f_u = frame(at, u, True)
                list_rows(s, at, order, f_u, f_u)
                for l in range(depth):
{replay}
                    change(s, at, l, f_u, b, order)
        {use}(at, at[0, CHECKPOINTS] + (i + t - starts[i]) * at[0, WEIGHTS])
"""


def forward_source(schedule: Schedule, asks: bool, numbers: bool) -> str:
    """The function `forward`."""
    calls = ["if l >= lowest:", "    error(s, at, l, f, b, order)"]
    calls += _refresh(schedule, "before", with_sums=True)
    if schedule.back:
        calls += _refresh(schedule.back, "before", with_sums=True) + _changed(schedule.back, "f")
    if schedule.passes_synapses:
        calls.append("rest(s, at, l, f, b, order)")
    if schedule.biases:
        calls.append("change_biases(s, at, l, f, b)")
    model = schedule.plan.model
    bounded = ["at[0, BOUNDED] = t > 0"] if schedule.limits else []
    step = _STEP.format(
        notes=_block([*bounded, *_is_first(schedule, "t")], 3),
        calls=_lines(calls, 4),
        hidden=models.with_beta(models.has_softplus(model)),
        output=models.output_call(model, numbers=numbers),
        noise="\n            put_noise(s, at, f, noise, t)" if model.noise else "",
    )
    begin = []
    if unasked(schedule) and asks:
        # Λ of a query, which is copied whole, has none of these.
        begin += ["if keep:", f"    {_CLEAR}"]
    for each in schedule.all:
        if each.traces:
            begin.append("for l in range(depth):")
            begin.append(f"    {each.prefix}begin_traces(s, at, l, 0, 0, at[0, FRAMES])")
    text = (_FORWARD_ASKED if asks else _FORWARD).format(
        begin=_block(begin, 1),
        step=step,
        noise="noise, " if model.noise else "",
        labels=_labels(numbers),
        biases="\n            query_biases(s, at, len(targets[0]))" if model.bias else "",
        query=models.with_beta(models.plain_query(model)),
    )
    return _listing(schedule, text)


def _labels(numbers: bool) -> str:
    return "answers" if numbers else "labels"


def adjoint_source(schedule: Schedule, carrier: Carrier, asks: bool, numbers: bool) -> str:
    """The function `adjoint`."""
    use = "use_matrices" if unasked(schedule) else "use_weights"
    calls = [f"{o.prefix}remember(s, at, l, f, b)" for o in schedule.all if o.traces]
    for each in schedule.all:
        calls += _refresh(each, "frame(at, t - 1, True)", with_sums=False)
    if schedule.undoes:
        recover = _UNDO
        if schedule.undone_in == "alone" and _reads_input_weights(schedule, carrier):
            calls.append("undo(s, at, l, f, b, exact, order)")
        elif schedule.undone_in == "alone":
            calls += ["if l > 0 or idle != 0:", "    undo(s, at, l, f, b, exact, order)"]
    else:
        again = _refresh(schedule, "frame(at, u - 1, True)", with_sums=False)
        if schedule.back:
            again += _refresh(schedule.back, "frame(at, u - 1, True)", with_sums=False)
        replay = [c.replace("l, f, b", "l, f_u, b") for c in again]
        replay += _changed(schedule.back, "f_u") if schedule.back else []
        if schedule.passes_synapses:
            replay.append("rest(s, at, l, f_u, b, order)")
        note = _block(_is_first(schedule, "u"), 4)
        recover = _REPLAY.format(replay=_lines(replay, 5), use=use, note=note)
    exact = "exact, " if schedule.undoes else ""
    for each in schedule.all:
        if each is schedule.back and each.undoes and each.undone_in == "alone":
            calls.append("back_undo(s, at, l, f, b, exact, order)")
        groups = exact if each.undone_in == "groups" else ""
        name = f"{each.prefix}groups_adjoint"
        calls.append(f"{name}(s, at, l, f, b, after, b_after, {groups}order)")
    # Where Λ is that after the step, not yet changed in place, and the weights are those before.
    early = not schedule.undoes or schedule.undone_in != "sums"
    calls += _CALL_IDLE if early else []
    for each in schedule.all:
        calls += _back_through(each, exact)
    calls += _where_read(schedule, "error_adjoint(s, at, l, f, b, order)")
    model = schedule.plan.model
    begin = ["query_adjoint(s, at, queries)"]
    begin += ["query_biases(s, at, queries)"] if model.bias else []
    if asks:
        begin = ["i_asked = len(asked)", "clear(pointer(s, at[0, LAMBDA]), at[0, WEIGHTS])"]
    if unasked(schedule) and not asks:
        begin.append(_CLEAR)
    if schedule.limits:
        begin.append("at[0, BOUNDED] = 1")
    for each in schedule.all:
        if each.traces:
            begin += ["for l in range(depth):", f"    {each.prefix}forget(s, at, l, 0, 0)"]
    bring = [f"{o.prefix}bring(s, at, l, f, b, after, b_after, order)" for o in schedule.all]
    text = _ADJOINT.format(
        given="asked" if asks else "queries",
        labels=_labels(numbers),
        answer="" if models.has_softmax(model) else ", answers, t",
        biases=_BIASES if model.bias else "",
        begin=_lines(begin, 1),
        ask=_ASK.format(bring=_lines(bring, 4)) if asks else "",
        use=use,
        note=_block(_is_first(schedule, "t"), 2),
        recover=recover.rstrip("\n"),
        step=_lines(calls, 3),
    )
    return _listing(schedule, text)


def _changed(schedule: Schedule, frame: str) -> list[str]:
    """Calls that update feedback's own matrices in one layer: nothing is left pending."""
    # The rest reads the matrices as they are before.
    calls = [f"back_rest(s, at, l, {frame}, b, order)"] if schedule.passes_synapses else []
    changes = schedule.outer or schedule.scalings
    return [*calls, f"back_change(s, at, l, {frame}, b, order)"] if changes else calls


def _back_through(schedule: Schedule, exact: str) -> list[str]:
    """Calls that bring a layer's adjoints from the update of a parameter to its quantities."""
    p, calls = schedule.prefix, []
    if schedule.passes_synapses:
        calls.append(f"{p}rest_adjoint(s, at, l, f, b, order)")
    calls.append(f"{p}vectors_adjoint(s, at, l, f, b)")
    if schedule.biases:
        calls.append("change_biases_adjoint(s, at, l, f, b)")
    for i, level in reversed(list(enumerate(schedule.levels))):
        if level.synapse_sums:
            calls.append(f"{p}synapses_{i}_adjoint(s, at, l, f, b, order)")
        if level.weight_sums:
            sums = exact if schedule.undone_in == "sums" and i == schedule.last_sums else ""
            calls.append(f"{p}sums_{i}_adjoint(s, at, l, f, b, {sums}order)")
            calls += _CALL_IDLE if sums and not p else []
        if level.values:
            more = ", frame(at, t - 1, True)" if schedule.traces else ""
            calls.append(f"{p}values_{i}_adjoint(s, at, l, f, b{more})")
    return calls


def _is_first(schedule: Schedule, step: str) -> list[str]:
    """The line that notes whether a step is the first of its lifetime, where that is read."""
    if not any("first" in each.plan.quantities for each in schedule.all):
        return []
    return [f"at[0, FIRST_STEP] = {step} + at[0, BEGUN] == 0"]


def _listing(schedule: Schedule, text: str) -> str:
    """The text with a list of dark rows beside every other, where something is done there."""
    if not any(map(synapses.tells_rows_apart, schedule.all)):
        return text
    call = r"^( *)list_rows\(s, at, order, (\w+), \w+\)\n"
    return re.sub(call, r"\g<0>\1list_dark(s, at, order, \2)\n", text, flags=re.M)


def _where_read(schedule: Schedule, call: str) -> list[str]:
    """The call for the layers whose error something reads: no term may read that of the pixels."""
    if "e_pre" in schedule.quantities:
        return [call]
    return ["if l > 0:", f"    {call}"] if "e_post" in schedule.quantities else []


def _reads_input_weights(schedule: Schedule, carrier: Carrier) -> bool:
    """Whether the adjoint reads the weights of the first layer, from which nothing goes on."""
    errors = carrier != "fixed" and "e_pre" in schedule.quantities
    return errors or bool(schedule.synapse) or schedule.last_sums is not None


def _refresh(schedule: Schedule, before: str, *, with_sums: bool) -> list[str]:
    """Calls that compute a layer's values and vectors; sums over synapses may be on the tape.

    Args:
        schedule: the schedule.
        before: the source of where the frame of the step before is.
        with_sums: whether sums over synapses are computed as well.
    """
    p, calls = schedule.prefix, []
    more = f", {before}" if schedule.traces else ""
    for i, level in enumerate(schedule.levels):
        if level.values:
            calls.append(f"{p}values_{i}(s, at, l, f, b{more})")
        if level.weight_sums and with_sums:
            calls.append(f"{p}sums_{i}(s, at, l, f, b, order)")
        if level.synapse_sums and with_sums:
            calls.append(f"{p}synapses_{i}(s, at, l, f, b, order)")
    return [*calls, f"{p}vectors(s, at, l, f, b)"]


def _lines(calls: Sequence[str], levels: int) -> str:
    return "\n".join("    " * levels + call for call in calls)


def _block(calls: Sequence[str], levels: int) -> str:
    """Lines of which there may be none, each with its end."""
    return _lines(calls, levels) + "\n" if calls else ""
