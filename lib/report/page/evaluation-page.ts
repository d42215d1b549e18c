/** The page of an evaluation: figures, classes, what is taken for what, and the pictures that are mistaken. */
import type { Metrics } from '../../evaluation/metrics.js'
import { integer, percent, plural } from '../format.js'
import { escaped, page } from './html.js'

/** A picture and what the model says of it. */
export interface ShownImage {
  readonly name: string
  /** A data URL; undefined where it cannot be decoded any more. */
  readonly picture: string | undefined
  readonly truth: string
  readonly guess: string
  /** Of the guess, and of the truth. */
  readonly confidence: number
  readonly truthProbability: number
}

export interface EvaluationPage {
  readonly run: string
  readonly data: string
  readonly model: string
  readonly resolution: number
  /** Which copy of the weights the figures are of. */
  readonly which: string
  readonly metrics: Metrics
  /** The surest mistakes, the surest first, and what the model is least sure of. */
  readonly mistakes: readonly ShownImage[]
  readonly unsure: readonly ShownImage[]
  readonly notices: readonly string[]
}

export function evaluationPage(facts: EvaluationPage): string {
  const { run, data, model, resolution, which, metrics, mistakes, unsure, notices } = facts
  const about = `${data} · ${plural(metrics.images, 'image')} · ${model}, ${which}, ${resolution} px · ${run}`
  return page(
    `Evaluation of ${run}`,
    [
      '<h1>Where the model fails</h1>',
      `<p class="quiet">${escaped(about)}</p>`,
      ...notices.map((notice) => `<p class="quiet">${escaped(notice)}</p>`),
      figures(metrics),
      `<h2>By class</h2>${classesTable(metrics)}`,
      `<h2>What is taken for what</h2>${confusion(metrics)}`,
      `<h2>Confidence against accuracy</h2>${calibration(metrics)}`,
      `<h2>The surest mistakes</h2>${sheet(mistakes, 'There are none.')}`,
      `<h2>The least certain</h2>${sheet(unsure, 'There are none.')}`,
    ].join('\n'),
  )
}

function figures({ top1, top5, macro, calibrationError, images, classes }: Metrics): string {
  const list = [
    ['top-1', percent(top1)],
    ...(classes.length > 5 ? [['top-5', percent(top5)]] : []),
    ['mean precision', percent(macro.precision)],
    ['mean recall', percent(macro.recall)],
    ['mean F1', percent(macro.f1)],
    ['calibration error', percent(calibrationError)],
    ['images', integer(images)],
  ]
  return `<div class="figures">${list.map(([name, value]) => `<div class="figure"><span class="quiet">${name}</span><b>${value}</b></div>`).join('')}</div>`
}

/** The worst classes first; of very many those alone. */
const classesListed = 100

function classesTable({ classes }: Metrics): string {
  const ordered = [...classes].sort((a, b) => a.recall - b.recall || a.name.localeCompare(b.name))
  const shown = ordered.slice(0, classesListed)
  const bar = (share: number) => `<span class="bar"><i style="width:${(100 * share).toFixed(1)}%"></i></span>`
  const rows = shown.map(
    ({ name, support, precision, recall, f1 }) =>
      `<tr><td>${escaped(name)}</td><td class="number">${integer(support)}</td><td>${bar(recall)}</td><td class="number">${percent(recall)}</td><td>${bar(precision)}</td><td class="number">${percent(precision)}</td><td class="number">${percent(f1)}</td></tr>`,
  )
  const more =
    ordered.length > shown.length
      ? `<p class="quiet">The ${classesListed} of ${integer(ordered.length)} classes with the lowest recall.</p>`
      : ''
  return `${more}<div class="scroll"><table id="classes"><thead><tr><th>class</th><th class="number">images</th><th colspan="2">recall</th><th colspan="2">precision</th><th class="number">F1</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`
}

/** Up to this number of classes the matrix has its numbers in it; beyond, it is a picture of points. */
const matrixLimit = 40

function confusion(metrics: Metrics): string {
  const { confused } = metrics
  const pairs = confused.map(
    ({ truth, guess, images, share }) =>
      `<tr><td>${escaped(truth)}</td><td>${escaped(guess)}</td><td class="number">${integer(images)}</td><td class="number">${percent(share)}</td></tr>`,
  )
  const list =
    pairs.length === 0
      ? '<p>Nothing is mistaken.</p>'
      : `<div class="scroll"><table id="pairs"><thead><tr><th>class</th><th>taken for</th><th class="number">images</th><th class="number">of the class</th></tr></thead><tbody>${pairs.join('')}</tbody></table></div>`
  return list + (metrics.classes.length <= matrixLimit ? matrix(metrics) : points(metrics))
}

function matrix({ classes, confusion: cells }: Metrics): string {
  const counts = new Map(cells.map(([truth, guess, images]) => [`${truth},${guess}`, images]))
  const head = classes.map(({ name }) => `<th class="turned"><span>${escaped(name)}</span></th>`).join('')
  const rows = classes.map(({ name, support }, truth) => {
    const row = classes.map((_, guess) => {
      const images = counts.get(`${truth},${guess}`) ?? 0
      const share = support === 0 ? 0 : images / support
      const tint = images === 0 ? '' : ` style="background:rgba(var(--mark),${(0.08 + 0.62 * share).toFixed(3)})"`
      return `<td${truth === guess ? ' class="own"' : ''}${tint}>${images === 0 ? '' : integer(images)}</td>`
    })
    return `<tr><th>${escaped(name)}</th>${row.join('')}</tr>`
  })
  return `<p class="quiet">Rows: the class of an image. Columns: what it is taken for. A frame is what is right.</p><div class="scroll"><table class="matrix" id="confusion"><thead><tr><th></th>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`
}

/** A point a pair of classes, the darker the larger the share of the class: drawn by the page itself. */
function points({ classes, confusion: cells }: Metrics): string {
  const shares = cells.map(([truth, guess, images]) => [
    truth,
    guess,
    Number((images / classes[truth]!.support).toFixed(3)),
  ])
  const names = JSON.stringify(classes.map(({ name }) => name)).replaceAll('<', '\\u003c')
  return `<p class="quiet">Rows: the class of an image, from the top. Columns: what it is taken for. Point at one to read it.</p>
<canvas id="confusion" width="${classes.length}" height="${classes.length}"></canvas><p id="pointed" class="quiet">&nbsp;</p>
<script>
const names = ${names}, cells = ${JSON.stringify(shares)}, n = names.length
const canvas = document.getElementById('confusion'), context = canvas.getContext('2d'), pointed = document.getElementById('pointed')
const draw = () => {
  const mark = getComputedStyle(document.documentElement).getPropertyValue('--mark')
  context.clearRect(0, 0, n, n)
  for (const [truth, guess, share] of cells) {
    // What is mistaken is what one looks for: it is drawn larger than what is right.
    const wide = truth === guess ? 0 : Math.round(n / 500)
    context.fillStyle = 'rgba(' + mark + ',' + (0.3 + 0.7 * share) + ')'
    context.fillRect(guess - wide, truth - wide, 1 + 2 * wide, 1 + 2 * wide)
  }
}
draw()
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw)
const byPlace = new Map(cells.map(([truth, guess, share]) => [truth * n + guess, share]))
canvas.addEventListener('mousemove', ({ offsetX, offsetY }) => {
  const [guess, truth] = [offsetX / canvas.clientWidth, offsetY / canvas.clientHeight].map((at) => Math.min(n - 1, Math.max(0, Math.floor(at * n))))
  const share = byPlace.get(truth * n + guess)
  pointed.textContent = names[truth] + ' taken for ' + names[guess] + ': ' + (100 * (share ?? 0)).toFixed(1) + ' % of the class'
})
</script>`
}

function calibration({ calibration: bins }: Metrics): string {
  const rows = bins
    .filter(({ images }) => images > 0)
    .map(
      ({ from, to, images, confidence, accuracy }) =>
        `<tr><td>${(100 * from).toFixed(0)} to ${(100 * to).toFixed(0)} %</td><td class="number">${integer(images)}</td><td class="number">${percent(confidence)}</td><td class="number">${percent(accuracy)}</td><td><span class="bar"><i style="width:${(100 * accuracy).toFixed(1)}%"></i></span></td></tr>`,
    )
  return `<p class="quiet">Of guesses that are so sure, this many are right: alike where the model knows what it knows.</p><div class="scroll"><table id="calibration"><thead><tr><th>confidence</th><th class="number">images</th><th class="number">mean</th><th class="number" colspan="2">right</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`
}

function sheet(images: readonly ShownImage[], none: string): string {
  if (images.length === 0) return `<p>${none}</p>`
  const items = images.map(({ name, picture, truth, guess, confidence, truthProbability }) => {
    const shown = picture === undefined ? '' : `<img src="${picture}" alt="${escaped(truth)}" loading="lazy">`
    const wrong = truth !== guess
    const said = `${escaped(guess)} ${percent(confidence)}`
    return `<li>${shown}<div>${escaped(truth)}${wrong ? ` ${percent(truthProbability)}` : ''}</div><div${wrong ? ' class="guess"' : ''}>${said}</div><div class="name">${escaped(name)}</div></li>`
  })
  return `<ul class="sheet">${items.join('')}</ul>`
}
