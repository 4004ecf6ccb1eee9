"""Passes over the rows of a matrix, as source: everything that a row is read for, read once.

In the order of a row k: it is changed (outer products that the step before left pending, a
scaling), then its products with vectors are taken (*dots*, one number for a row) and it is added
to vectors (*gathers*, Σ_k g_k · row_k). A *partner* is a second matrix of the same shape whose
elementwise product with the first, or with the signs of the first, is taken likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Vectors that a block of rows may keep in registers; of 32, some are needed for the rest.
_REGISTERS = 50


@dataclass(frozen=True)
class RowPass:
    """What one pass does with each row; numbers of operands.

    Attributes:
        updates: outer products v ⊗ u that are added.
        scalings: for each factor (1 + Σ v ⊗ u), whether it has a u (else ones).
        undo: subtract and divide instead of scaling and adding.
        dots: for each dot, whether its result is added to what is there.
        gathers: number of gathers.
        partner_dots: for each product with the partner, whether it is weighted by a vector.
        partner_gathers: number of gathers of the product with the partner.
        partner_signed: whether the partner's magnitudes with the row's signs stand for the product.
        partner_undo: number of scalings by a number for each row, if the partner is undone before
            use: they are divided out after outer products of row numbers of its own with the
            vectors of the dots have been subtracted. None: it is only read.
        clips: the rows are kept between two numbers when they are changed.
        masks: numbers of outer products and of scalings, as of `updates` and `scalings`, by which
            the partner becomes what is between two numbers or is held back: there the rows are set
            to zero. None: nothing is held back.
    """

    updates: int = 0
    scalings: tuple[bool, ...] = ()
    undo: bool = False
    dots: tuple[bool, ...] = ()
    gathers: int = 0
    partner_dots: tuple[bool, ...] = ()
    partner_gathers: int = 0
    partner_signed: bool = False
    partner_undo: int | None = None
    clips: bool = False
    masks: tuple[int, tuple[bool, ...]] | None = None

    @property
    def name(self) -> str:
        """The function's name: what it does, and to how many operands."""
        pair = "signed" if self.partner_signed else "pair"
        parts = [
            (
                "undo" if self.undo else "update",
                str(self.updates) if self.changes else "",
            ),
            ("scale", "".join("01"[has] for has in self.scalings)),
            ("dot", "".join("=+"[adds] for adds in self.dots)),
            ("gather", str(self.gathers) if self.gathers else ""),
            (pair, "".join("01"[has] for has in self.partner_dots)),
            (f"{pair}gather", str(self.partner_gathers) if self.partner_gathers else ""),
            ("pairundo", "" if self.partner_undo is None else str(self.partner_undo)),
            ("clip", "1" if self.clips else ""),
            ("mask", "" if self.masks is None else self._mask_text),
        ]
        text = "_".join(["rows", *(stem + count for stem, count in parts if count)])
        return text.replace("=", "s").replace("+", "a")

    @property
    def _mask_text(self) -> str:
        count, scalings = self.masks or (0, ())
        return str(count) + "".join("01"[has] for has in scalings)

    @property
    def changes(self) -> bool:
        """Whether the rows are written."""
        return bool(self.updates or self.scalings)

    @property
    def partner(self) -> bool:
        """Whether there is a second matrix."""
        return bool(self.partner_dots or self.partner_gathers or self.masks is not None)

    @property
    def _undone(self) -> range:
        """Numbers of the outer products that the partner is undone by."""
        return range(len(self.dots) if self.partner_undo is not None else 0)

    @property
    def block(self) -> int:
        """Rows at a time: as many as keep the row's own operands in registers."""
        each = self.updates + len(self.scalings) + len(self.dots) + self.gathers
        each += len(self.partner_dots) + self.partner_gathers + 1
        each += len(self._undone) + bool(self.partner_undo)
        each += 2 * self.clips + (2 + self.masks[0] + len(self.masks[1]) if self.masks else 0)
        return next((n for n in (4, 2) if n * each <= _REGISTERS), 1)

    @property
    def arguments(self) -> list[str]:
        """Names of the arguments, pointers, counts and the list of rows."""
        names = ["order", "first", "last", "width", "a"]
        names += [n for i in range(self.updates) for n in (f"v{i}", f"u{i}")]
        for i, has in enumerate(self.scalings):
            names += [f"f{i}", f"h{i}"] if has else [f"f{i}"]
        names += [n for i in range(len(self.dots)) for n in (f"d{i}", f"o{i}")]
        names += [n for i in range(self.gathers) for n in (f"g{i}", f"t{i}")]
        names += ["b"] if self.partner else []
        for i, has in enumerate(self.partner_dots):
            names += [f"pd{i}", f"po{i}"] if has else [f"po{i}"]
        names += [n for i in range(self.partner_gathers) for n in (f"pg{i}", f"pt{i}")]
        names += [f"n{i}" for i in self._undone]
        names += [f"m{i}" for i in range(self.partner_undo or 0)]
        if self.masks is not None:
            names += [n for i in range(self.masks[0]) for n in (f"mv{i}", f"mu{i}")]
            for i, has in enumerate(self.masks[1]):
                names += [f"mf{i}", f"mh{i}"] if has else [f"mf{i}"]
        return [*names, "low", "high"] if self.clips or self.masks is not None else names

    def source(self) -> list[str]:
        """The function's source, line by line."""
        rows = range(self.block)
        out = ["@compiled", f"def {self.name}({', '.join(self.arguments)}):"]
        out += ["    one = F(1.0)"] if self.scalings or self.partner_undo else []
        if self.clips or self.masks is not None:
            out.append("    low_, high_ = splat(low), splat(high)")
        out.append(f"    for i in range(first, last, {self.block}):")
        for r in rows:
            out += self._begin_row(r)
        out.append("        for j in range(0, width, LANES):")
        out += self._change()
        out += self._take()
        for r in rows:
            out += self._end_row(r)
        return out

    def _begin_row(self, r: int) -> list[str]:
        out = [
            f"k{r} = order[i + {r}]" if r else "k0 = order[i]",
            f"a{r} = pointer(a, k{r} * width)",
        ]
        if self.partner:
            out.append(f"b{r} = pointer(b, k{r} * width)")
        sign = "-" if self.undo else ""
        out += [f"v{i}_{r} = splat({sign}v{i}[k{r}])" for i in range(self.updates)]
        plain = [f"f{i}[k{r}]" for i, has in enumerate(self.scalings) if not has]
        if self.scalings:
            # W + fW, not (1 + f)W: the rounding of 1 + f is the same in every step, and adds up.
            factor = " + ".join(plain) or "F(0.0)"
            out.append(f"f_{r} = splat({f'one / (one + {factor})' if self.undo else factor})")
        out += [f"f{i}_{r} = splat(f{i}[k{r}])" for i, has in enumerate(self.scalings) if has]
        out += [f"d{i}_{r} = zero(a)" for i in range(len(self.dots))]
        out += [f"pd{i}_{r} = zero(a)" for i in range(len(self.partner_dots))]
        out += [f"g{i}_{r} = splat(g{i}[k{r}])" for i in range(self.gathers)]
        out += [f"pg{i}_{r} = splat(pg{i}[k{r}])" for i in range(self.partner_gathers)]
        out += [f"n{i}_{r} = splat(-n{i}[k{r}])" for i in self._undone]
        if self.masks is not None:
            count, scaled = self.masks
            out += [f"mv{i}_{r} = splat(mv{i}[k{r}])" for i in range(count)]
            out += [f"mf{i}_{r} = splat(mf{i}[k{r}])" for i in range(len(scaled))]
        if self.partner_undo:
            factor = " + ".join(["one", *(f"m{i}[k{r}]" for i in range(self.partner_undo))])
            out.append(f"m_{r} = splat(one / ({factor}))")
        return ["        " + line for line in out]

    def _change(self) -> list[str]:
        rows = range(self.block)
        out = [f"u{i}_ = load(u{i}, j)" for i in range(self.updates)]
        weighted = [i for i, has in enumerate(self.scalings) if has]
        out += [f"h{i}_ = load(h{i}, j)" for i in weighted]
        for r in rows:
            out.append(f"row{r} = load(a{r}, j)")
            factor = f"f_{r}"
            for i in weighted:
                factor = f"fma(f{i}_{r}, h{i}_, {factor})"
            call = f"mul(row{r}, {factor})" if self.undo else f"fma(row{r}, {factor}, row{r})"
            scaled = [f"row{r} = {call}"] if self.scalings else []
            added = [f"row{r} = fma(v{i}_{r}, u{i}_, row{r})" for i in range(self.updates)]
            out += added + scaled if self.undo else scaled + added
            if self.clips:
                out.append(f"row{r} = clipped(row{r}, low_, high_)")
            if self.masks is not None:
                out += self._mask(r)
            if self.changes or self.masks is not None:
                out.append(f"store(a{r}, j, row{r})")
        return ["            " + line for line in out]

    def _mask(self, r: int) -> list[str]:
        """Lines that set a row to zero where the partner is held back."""
        count, scaled = self.masks or (0, ())
        out = [f"old = load(b{r}, j)", "raw = old"]
        for i, has in enumerate(scaled):
            by = f"mul(mf{i}_{r}, load(mh{i}, j))" if has else f"mf{i}_{r}"
            out.append(f"raw = fma(old, {by}, raw)")
        out += [f"raw = fma(mv{i}_{r}, load(mu{i}, j), raw)" for i in range(count)]
        return [*out, f"row{r} = within(row{r}, raw, low_, high_)"]

    def _take(self) -> list[str]:
        rows = range(self.block)
        out = [f"other{r} = load(b{r}, j)" for r in rows if self.partner]
        for i in range(len(self.dots)):
            out.append(f"d{i}_ = load(d{i}, j)")
            out += [f"d{i}_{r} = fma(row{r}, d{i}_, d{i}_{r})" for r in rows]
            if i in self._undone:
                out += [f"other{r} = fma(n{i}_{r}, d{i}_, other{r})" for r in rows]
        for i in range(self.gathers):
            out.append(f"t{i}_ = load(t{i}, j)")
            out += [f"t{i}_ = fma(g{i}_{r}, row{r}, t{i}_)" for r in rows]
            out.append(f"store(t{i}, j, t{i}_)")
        if self.partner_undo:
            out += [f"other{r} = mul(other{r}, m_{r})" for r in rows]
        if self.partner_undo is not None:
            out += [f"store(b{r}, j, other{r})" for r in rows]
        if self.partner:
            pair = "signed(other{0}, row{0})" if self.partner_signed else "mul(row{0}, other{0})"
            out += [f"pair{r} = {pair.format(r)}" for r in rows]
        for i, has in enumerate(self.partner_dots):
            if has:
                out.append(f"pd{i}_ = load(pd{i}, j)")
                out += [f"pd{i}_{r} = fma(pair{r}, pd{i}_, pd{i}_{r})" for r in rows]
            else:
                out += [f"pd{i}_{r} = add(pair{r}, pd{i}_{r})" for r in rows]
        for i in range(self.partner_gathers):
            out.append(f"pt{i}_ = load(pt{i}, j)")
            out += [f"pt{i}_ = fma(pg{i}_{r}, pair{r}, pt{i}_)" for r in rows]
            out.append(f"store(pt{i}, j, pt{i}_)")
        return ["            " + line for line in out]

    def _end_row(self, r: int) -> list[str]:
        out = [
            f"o{i}[k{r}] {'+=' if adds else '='} total(d{i}_{r})"
            for i, adds in enumerate(self.dots)
        ]
        out += [f"po{i}[k{r}] = total(pd{i}_{r})" for i in range(len(self.partner_dots))]
        return ["        " + line for line in out]
