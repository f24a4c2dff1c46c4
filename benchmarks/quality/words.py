"""The words of the page that do not depend on what was measured."""

from __future__ import annotations

HEAD = """# Is it real?

What the checkpoints of this repository show, octave by octave, held against the picture that
they were made from, and against what else could be done with as many bytes. Everything here, this
page included, is made by one command a checkpoint, which anyone can run who has the picture:

```
{command}
```

The painting is not in this repository, and neither are pieces of it: the strips show what ships.
The command also writes strips with the real pixels, the baselines and the twin below each other,
into `with-real` of its `--out` folder; look at those.

## What the words mean

- **Level**: octaves. At level L a patch of {patch} pixels spans 2^-L of the picture's shorter side.
  The real picture ends at level {top:.1f}.
- **PSNR**: of {held_out} windows a level together, against the real picture at the same places,
  which a seed draws.
- **High band**: power above half the Nyquist frequency of the same windows, against the real ones.
  A blur is 15 dB and more below.
- **Distance**: sliced Wasserstein distance of neighbourhoods of 7 x 7 pixels over three octaves of
  fineness, normalised by the real windows; {windows} windows of {patch} x {patch} pixels a level in
  each set. *Floor*: the distance of as many other real windows. The made ones lie where those lie,
  never where the first ones do: a perfect copy scores 1.0.
- **Consistency**: PSNR of a view, averaged down an octave, against the view rendered there, the two
  grids moved against each other by parts of a pixel, as in a flight. Even the real picture does not
  agree with itself exactly.
- **Flicker**: what changes from frame to frame of a zoom, 1/32 octave apart, once the motion is
  taken out; grey levels of 255, RMS.
- **Remembered**: PSNR of {remembered:g} dB or more. Else **invented**, where the high band is at
  most {textured:g} dB below the real one (as much texture, but another); else **soft**. The reality
  lens of the app (G) says the same of what is in view.

The bounds are those that the project set itself before measuring.
"""
"""Fields: command, patch, top, held_out, windows, remembered, textured."""

BASELINES = """### The same bytes, used otherwise

Each baseline is one file of at most {size}: the bytes of the checkpoint, rounded up. A pyramid:
tiles of 2,048 pixels, one quality for all levels, colours at half density (4:2:0), each level half
of the one above. For every top level the best quality that fits was taken, and of these pyramids
the one with the best mean PSNR for fidelity and the one with the least mean distance (levels
{first} to {last}, {windows} windows) for realism: PSNR and high band below are of the first, the
distances of the second, which may be another file. A view is read from the level two octaves finer,
where there is one, and made smaller, which averages what the codec added; above the top it is
enlarged; both by a bicubic filter. The thumbnail is one JPEG of quality 90, as large as fits. The
twin is the same network, trained without a discriminator.
"""
"""Fields: size, first, last, windows."""

NAMES = {
    "checkpoint": "checkpoint",
    "real": "the real picture's own",
    "twin": "regression-only twin",
    "jpeg": "JPEG pyramid",
    "avif": "AVIF pyramid",
    "bicubic": "bicubic of a thumbnail",
}
"""Of subjects, for tables and diagrams."""

NOT_SHIPPED = {
    "rock": "Not shipped: the same recipe, nothing changed, on a picture of another kind, which "
    "anyone can make: bare rock from above, 8,192 pixels wide, from a seed. The commands: "
    "[checkpoints/README.md](../checkpoints/README.md).",
}
"""What to say of a checkpoint that is measured and not in this repository."""

LATENTS = """## {name}

Many scenes in one: every latent (`N` in the app) is a piece of paint that was never painted.
Learned from {scenes} square pieces of the painting, {smallest} to {largest} pixels wide, {count}
patches of each, without places; levels 0 to {octaves}. Training: {minutes} minutes and {windows}
windows. Measured on {cores} cores of an {cpu}. There is no picture to hold it against; what can be
asked is:

- How unlike are latents? {diversity} times as unlike as the real pieces are.
- Are they copies? {shown} of {latents} latents show one of the pieces (correlation of the whole
  view, low-passed to 16 x 16 pixels, of 0.5 or more). Half of all correlate less than {median} with
  the piece that is most like them; two real pieces do so by {highest} at most.
- Is a latent one scene at every octave? PSNR of a view, averaged down an octave, against the view
  rendered there, of the same latent and, to compare, of another:

| level | the same latent, dB | another, dB |
|---|---|---|
{rows}

Six latents, from the whole scene to its finest octave:

![six latents at every octave](quality/{name}-latents.jpg)

The commands: [checkpoints/README.md](../checkpoints/README.md); every number:
`benchmarks/results/many-scenes-{name}.json`."""
"""Fields: those of `benchmarks.quality.latents`."""
