"""A molecule in space as one HTML file that needs no other file, library or network: drag, zoom, hover."""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sciexplain.domains.molecules import colours
from sciexplain.domains.molecules.errors import MoleculeError, PositionsError
from sciexplain.domains.molecules.molecules import Molecules
from sciexplain.domains.molecules.space import CMAP, Surface, bonded

__all__ = ["to_html"]


def to_html(
    relevance: Any,
    molecules: Molecules,
    which: int = 0,
    path: str | os.PathLike[str] | None = None,
    *,
    limit: float | None = None,
    surface: Surface | None = None,
    omega: Any = None,
) -> str:
    """A molecule with relevance as colour, to be turned in a browser; hovering tells each atom's value.

    Parameters
    ----------
    relevance : relevance dataset, DataArray (atom,) or ndarray (atom,)
    molecules : Molecules
        With positions.
    which : int
        The molecule.
    path : path, optional
        Also write it to this file.
    limit : float, optional
        The scale goes from -limit to limit; by default to this molecule's largest magnitude.
    surface : Surface, optional
        Also draw this, half transparent, in the colours of `omega`.
    omega : DataArray (vertex,), optional
        As of `local_potential` at `surface.vertices`.

    Returns
    -------
    str

    Raises
    ------
    PositionsError
        There are no positions.
    MoleculeError, RegionError
        No such molecule, a surface without values or the other way round; relevance of other atoms.
    """
    import matplotlib as mpl

    array = colours.flat_values(relevance, molecules)
    (m,) = colours.chosen(int(which), molecules)
    if molecules.positions is None:
        raise PositionsError("A molecule in space needs positions: read xyz or SDF, or conformers=True.")
    if (surface is None) != (omega is None):
        raise MoleculeError("surface and omega go together: the potential at surface.vertices.")
    one = molecules[m]
    assert one.positions is not None
    values = array.values[molecules.molecule == m]
    end = colours.limit_of([values], limit)
    unit = f" {array.attrs['units']}" if "units" in array.attrs else ""
    center = one.positions.mean(0)
    base = np.linalg.svd(one.positions - center, full_matrices=True)[2]
    base[2] = np.cross(base[0], base[1])
    data: dict[str, Any] = {
        "atoms": np.round((one.positions - center) @ base.T, 4).tolist(),
        "radii": np.where(one.elements == 1, 0.28, 0.42).tolist(),
        "colors": [_hex(c) for c in colours.colors_of(values, end)],
        "labels": [
            f"{symbol}{k}: {value:+.4g}{unit}"
            for k, (symbol, value) in enumerate(zip(one.symbols.tolist(), values.tolist()))
        ],
        "bonds": bonded(one),
        "vertices": [],
        "faces": [],
        "tints": [],
    }
    bars = [_bar("relevance", -end, end, colours.colors_of(np.linspace(-1, 1, 17), 1.0), str(unit))]
    if surface is not None:
        energy = np.asarray(omega, np.float64)
        if energy.shape != (surface.vertices.sizes["vertex"],) or not np.isfinite(energy).all():
            raise MoleculeError(f"{energy.shape} values for the vertices of the surface, or not finite ones.")
        low, high = float(energy.min()), float(energy.max())
        scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), CMAP)
        data["vertices"] = np.round((surface.vertices.values - center) @ base.T, 3).tolist()
        data["faces"] = surface.faces.tolist()
        data["tints"] = [_hex(c) for c in scale.to_rgba(energy[surface.faces].mean(1))]
        attrs = getattr(omega, "attrs", {})
        bars.append(
            _bar(attrs.get("long_name", "potential"), low, high,
                 mpl.colormaps[CMAP](np.linspace(0, 1, 17)), f" {attrs.get('units', '1')}".removesuffix(" 1"))
        )  # fmt: skip
    head = escape(colours.caption(relevance, molecules, m)).replace("\n", ", ")
    text = (
        _PAGE.replace("@HEAD@", head)
        .replace("@BARS@", "".join(bars))
        .replace("@DATA@", json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
    )
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def _hex(color: Any) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in color[:3])


def _bar(name: str, low: float, high: float, colors: Any, unit: str) -> str:
    stops = ",".join(_hex(color) for color in colors)
    return (
        f"<p>{escape(name)}: {low:.4g} <span style='background:linear-gradient(to right,{stops})'></span> "
        f"{high:.4g}{escape(unit)}</p>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>@HEAD@</title><style>
body{font:14px sans-serif;margin:12px;color:#222}canvas{border:1px solid #ddd;touch-action:none;cursor:grab}
p{margin:4px 0}p span{display:inline-block;width:180px;height:12px;border:1px solid #999}
#tip{position:fixed;display:none;background:#222;color:#fff;padding:2px 6px;border-radius:3px;
pointer-events:none}
</style></head><body><p><b>@HEAD@</b></p><canvas width="640" height="480"></canvas>@BARS@
<p>Drag to turn, scroll to zoom, hover over an atom for its value.</p><div id="tip"></div><script>
"use strict";
const data = @DATA@;
const canvas = document.querySelector("canvas"), pen = canvas.getContext("2d");
const tip = document.getElementById("tip"), W = canvas.width, H = canvas.height;
const points = data.atoms.concat(data.vertices);
const reach = Math.max(1, ...points.map(p => Math.hypot(p[0], p[1], p[2]))) + 0.5;
let zoom = Math.min(W, H) / 2 / reach, turn = [[1, 0, 0], [0, 1, 0], [0, 0, 1]], discs = [];
function times(a, b) {
  return a.map(row => [0, 1, 2].map(k => row[0] * b[0][k] + row[1] * b[1][k] + row[2] * b[2][k]));
}
function seen(p) {
  const q = turn.map(row => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
  return [W / 2 + zoom * q[0], H / 2 - zoom * q[1], q[2]];
}
function draw() {
  const at = data.atoms.map(seen), corner = data.vertices.map(seen), todo = [];
  discs = [];
  at.forEach((p, k) => {
    const r = zoom * data.radii[k];
    discs.push([p[0], p[1], r, p[2], k]);
    todo.push([p[2], () => {
      const shine = pen.createRadialGradient(p[0] - r / 3, p[1] - r / 3, r / 10, p[0], p[1], r);
      shine.addColorStop(0, "#ffffff"); shine.addColorStop(0.35, data.colors[k]);
      shine.addColorStop(1, data.colors[k]);
      pen.beginPath(); pen.arc(p[0], p[1], r, 0, 7); pen.fillStyle = shine; pen.fill();
      pen.lineWidth = 1; pen.strokeStyle = "#666"; pen.stroke();
    }]);
  });
  data.bonds.forEach(([a, b]) => {
    // from the surface of one ball to that of the other, so that each hides what lies behind it
    const from = data.atoms[a], to = data.atoms[b];
    const long = Math.hypot(to[0] - from[0], to[1] - from[1], to[2] - from[2]);
    const on = share => seen(from.map((x, k) => x + share * (to[k] - x)));
    const p = on(0.9 * data.radii[a] / long), q = on(1 - 0.9 * data.radii[b] / long);
    todo.push([(p[2] + q[2]) / 2, () => {
      pen.beginPath(); pen.moveTo(p[0], p[1]); pen.lineTo(q[0], q[1]);
      pen.lineWidth = 0.14 * zoom; pen.lineCap = "round"; pen.strokeStyle = "#aaa"; pen.stroke();
    }]);
  });
  data.faces.forEach((f, k) => {
    const [p, q, r] = f.map(v => corner[v]);
    todo.push([(p[2] + q[2] + r[2]) / 3, () => {
      pen.globalAlpha = 0.3; pen.beginPath(); pen.moveTo(p[0], p[1]); pen.lineTo(q[0], q[1]);
      pen.lineTo(r[0], r[1]); pen.closePath(); pen.fillStyle = data.tints[k]; pen.fill(); pen.globalAlpha = 1;
    }]);
  });
  pen.clearRect(0, 0, W, H);
  todo.sort((a, b) => a[0] - b[0]).forEach(step => step[1]());
}
let last = null;
canvas.addEventListener("pointerdown", e => {
  last = [e.clientX, e.clientY];
  canvas.setPointerCapture(e.pointerId);
});
canvas.addEventListener("pointerup", () => { last = null; });
canvas.addEventListener("pointermove", e => {
  if (last) {
    const x = (e.clientX - last[0]) / 120, y = (e.clientY - last[1]) / 120;
    last = [e.clientX, e.clientY];
    const c = Math.cos, s = Math.sin;
    turn = times([[1, 0, 0], [0, c(y), -s(y)], [0, s(y), c(y)]], turn);
    turn = times([[c(x), 0, s(x)], [0, 1, 0], [-s(x), 0, c(x)]], turn);
    draw();
  }
  const box = canvas.getBoundingClientRect(), x = e.clientX - box.left, y = e.clientY - box.top;
  const under = discs.filter(d => Math.hypot(d[0] - x, d[1] - y) <= d[2]).sort((a, b) => b[3] - a[3])[0];
  tip.style.display = under ? "block" : "none";
  if (under) {
    tip.textContent = data.labels[under[4]];
    tip.style.left = e.clientX + 12 + "px"; tip.style.top = e.clientY + 12 + "px";
  }
});
canvas.addEventListener("wheel", e => { e.preventDefault(); zoom *= Math.exp(-e.deltaY / 600); draw(); },
  { passive: false });
draw();
</script></body></html>
"""
