"""The demo's page: one file with everything in it, for a browser without a network."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from neuralreg.registration.result import RegistrationResult

from Testing.support.published_images import CREDITS

_PLANES = ("axial", "coronal", "sagittal")
_ROWS = (
    (
        "before",
        "Before",
        "The person in green, the atlas in magenta, where both lie in the world. "
        "Gray is where they agree.",
    ),
    ("after", "After", "The same after registration: the atlas follows the person's anatomy."),
    (
        "grid",
        "The bending",
        "A straight 9 mm grid, bent by the registration beyond pose and size. "
        "Gray lines stay, green ones move by 2 mm, yellow by 5, red by 9 and more. "
        "Where lines never cross, nothing folds.",
    ),
    (
        "regions",
        "The atlas's cortical regions on the person",
        "48 Harvard-Oxford regions, each resampled once by its label.",
    ),
)
_STYLE = """
:root{color-scheme:dark;--ink:#e8edf2;--dim:#93a1b0;--line:#26303b;--card:#161c23;--good:#4cd19a}
*{box-sizing:border-box}body{margin:0;background:#0e1319;color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:48px 24px 64px}
h1{font-size:34px;line-height:1.15;letter-spacing:-.02em;margin:0 0 8px}
h2{font-size:20px;margin:44px 0 4px}p{margin:0 0 14px;color:var(--dim);max-width:72ch}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:12px;
margin:28px 0 8px}
.number{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.number b{display:block;font-size:25px;font-weight:600;font-variant-numeric:tabular-nums}
.number b i{font-style:normal;color:var(--dim);font-weight:400;font-size:17px}
.number span{color:var(--dim);font-size:13px}.number b.good{color:var(--good)}
.row{display:grid;grid-template-columns:repeat(3,1fr);gap:10px}
figure{margin:0;position:relative}img{display:block;width:100%;border-radius:10px}
figcaption{position:absolute;left:12px;bottom:8px;font-size:12px;color:#cfd8e1;
text-shadow:0 1px 3px #000}
.swipe img+img{position:absolute;inset:0;clip-path:inset(0 0 0 var(--cut,50%))}
.swipe::after{content:"";position:absolute;top:0;bottom:0;left:var(--cut,50%);width:1px;
background:#ffffffaa}
input[type=range]{width:100%;margin:14px 0 0;accent-color:var(--good)}
.ends{display:flex;justify-content:space-between;color:var(--dim);font-size:13px}
footer{margin-top:56px;border-top:1px solid var(--line);padding-top:18px;font-size:13px;
color:var(--dim)}footer li{margin-bottom:4px}code{color:var(--ink)}
@media(max-width:640px){.row{grid-template-columns:1fr}}
"""
_SCRIPT = """
document.getElementById('cut').addEventListener('input', e =>
  document.querySelectorAll('.swipe').forEach(
    f => f.style.setProperty('--cut', e.target.value + '%')));
"""


def write_page(
    path: Path, pictures: dict[str, list[bytes]], numbers: dict, result: RegistrationResult
) -> None:
    """Write the page: pictures per caption as scene.Demo draws them, numbers as it counts them."""
    rows = "".join(
        f"<h2>{title}</h2><p>{text}</p>{_row(pictures[key])}" for key, title, text in _ROWS
    )
    credits = "".join(f"<li>{escape(line)}</li>" for line in CREDITS)
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Neural Registration: demo</title><style>{_STYLE}</style><main>
<h1>An atlas on a person's head</h1>
<p>Model <code>{escape(result.model)}</code>, no trained weights, no manual step. The person's head
lies turned and shifted, as in a scanner, under a transform in the scene; the atlas comes with its
own grid. All pictures are slice views of 3D Slicer.</p>
{_cards(numbers)}
<h2>Person and warped atlas</h2><p>Move the handle to compare.</p>
{_swipe(pictures["person"], pictures["warped"])}
{rows}
{_notes(result)}
<footer>Images<ul>{credits}</ul>
<code>scene.mrb</code> beside this page opens in 3D Slicer;
<code>fixed_to_moving.nii.gz</code> and <code>moving_to_fixed.nii.gz</code> are ITK displacement
fields in LPS mm. Research software, not for clinical use.</footer></main>
<script>{_SCRIPT}</script></html>
""",
        encoding="utf-8",
    )


def _image(png: bytes, caption: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{caption}" src="data:image/png;base64,{data}">'


def _row(pngs: list[bytes]) -> str:
    figures = (
        f"<figure>{_image(png, plane)}<figcaption>{plane}</figcaption></figure>"
        for png, plane in zip(pngs, _PLANES, strict=True)
    )
    return f'<div class="row">{"".join(figures)}</div>'


def _swipe(left: list[bytes], right: list[bytes]) -> str:
    figures = (
        f'<figure class="swipe">{_image(a, "person, " + plane)}{_image(b, "atlas, " + plane)}'
        f"<figcaption>{plane}</figcaption></figure>"
        for a, b, plane in zip(left, right, _PLANES, strict=True)
    )
    return (
        f'<div class="row">{"".join(figures)}</div>'
        '<input id="cut" type="range" min="0" max="100" value="50" aria-label="compare">'
        '<div class="ends"><span>warped atlas</span><span>person</span></div>'
    )


def _cards(numbers: dict) -> str:
    before, after, outcome = numbers["before"], numbers["after"], numbers["outcome"]
    cards = [
        (f"<i>{before[name]:.2f} →</i> {after[name]:.2f}", f"{name}, in the brain", "good")
        for name in ("correlation", "mutual information", "Dice white matter", "Dice gray matter")
    ]
    cards += [
        (f"{outcome['folding_percent_body']:.3g} %", "folding in the body", ""),
        (
            f"{outcome['inverse_error_mean_mm']:.2g} mm",
            f"forward-backward error, at most {outcome['inverse_error_max_mm']:.2g} mm",
            "",
        ),
        (
            f"{outcome['displacement_mean_mm']:.1f} mm",
            f"mean bending, at most {outcome['displacement_max_mm']:.1f} mm",
            "",
        ),
        (f"{numbers['seconds in all']:.0f} s", "registration and warping", ""),
    ]
    return (
        '<div class="numbers">'
        + "".join(
            f'<div class="number"><b class="{style}">{value}</b><span>{escape(label)}</span></div>'
            for value, label, style in cards
        )
        + "</div><p>Correlation, mutual information and the tissue classes (Otsu's thresholds, "
        "each image by itself) are counted by SimpleITK, not by the registration.</p>"
    )


def _notes(result: RegistrationResult) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.warnings)
    return f"<h2>Notes of the registration</h2><ul>{notes}</ul>" if notes else ""
