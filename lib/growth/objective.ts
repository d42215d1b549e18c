/**
 * What a search minimises: loss * time^w, with w read off the candidates themselves (the paper's equation for its growing
 * objective). The search calls it when it decides; the exponent goes into the event that reports the decision.
 */
import { AutoprogError, expected } from '../errors.js'

export interface Objective {
  /** Least squares fit of loss = a2 * time^a1. */
  readonly a1: number
  readonly a2: number
  /** max(-a1, 0): how much time counts. */
  readonly exponent: number
  readonly scores: readonly number[]
  /** Index of the lowest score; of equals the slowest, or where time does not count the fastest; then the first. */
  readonly best: number
}

/** Scores candidates by their losses and times (seconds, or any unit in proportion). Throws as `fitPower` does. */
export function scoreCandidates(losses: readonly number[], times: readonly number[]): Objective {
  const { a1, a2 } = fitPower(losses, times)
  const exponent = Math.max(-a1, 0)
  const scores = losses.map((loss, index) => loss * times[index]! ** exponent)
  return { a1, a2, exponent, scores, best: lowest(scores, times, exponent) }
}

/**
 * The lowest score. Two candidates of which the slower has the lower loss always tie, since the fit passes through both:
 * the slower one wins then, for the network has to grow in the end. Where time does not count, equal losses are equal: then
 * nothing speaks for the slower one.
 */
function lowest(scores: readonly number[], times: readonly number[], exponent: number): number {
  const limit = Math.min(...scores) * (1 + 1e-9) // the fit's own accuracy
  const tied = scores.flatMap((score, index) => (score <= limit ? [index] : []))
  const sign = exponent === 0 ? -1 : 1
  return tied.reduce((best, index) => (sign * (times[index]! - times[best]!) > 0 ? index : best))
}

/**
 * Least squares of loss = a2 * time^a1 (of the losses, not of their logarithms), by Levenberg and Marquardt's method. A
 * single time says nothing of a slope: then a1 = 0. Throws CONFIG for lists of unequal length or without entries, NUMERIC
 * for a loss that is not finite or a time that is not positive.
 */
export function fitPower(losses: readonly number[], times: readonly number[]): { a1: number; a2: number } {
  check(losses, times)
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length
  if (new Set(times).size < 2) return { a1: 0, a2: mean }
  // In units of their geometric mean, times stand around 1 and the two parameters hardly depend on each other.
  const logarithms = times.map(Math.log)
  const unit = logarithms.reduce((sum, value) => sum + value, 0) / times.length
  const fitted = minimize(
    losses,
    logarithms.map((value) => value - unit),
    mean,
  )
  return { a1: fitted.a1, a2: fitted.a2 * Math.exp(-unit * fitted.a1) }
}

/** Fits loss = a2 * exp(a1 x), from a flat line. */
function minimize(losses: readonly number[], xs: readonly number[], mean: number): { a1: number; a2: number } {
  const cost = (p1: number, p2: number) =>
    losses.reduce((sum, loss, i) => sum + (loss - p2 * Math.exp(p1 * xs[i]!)) ** 2, 0)
  let [a1, a2, damping] = [0, mean, 1e-3]
  let current = cost(a1, a2)
  for (let iteration = 0; iteration < 500 && damping < 1e12; iteration++) {
    // Normal equations of the residuals' Jacobian (a2 x exp(a1 x), exp(a1 x)).
    let [s11, s12, s22, r1, r2] = [0, 0, 0, 0, 0]
    for (const [i, loss] of losses.entries()) {
      const power = Math.exp(a1 * xs[i]!)
      const [j1, residual] = [a2 * xs[i]! * power, loss - a2 * power]
      s11 += j1 * j1
      s12 += j1 * power
      s22 += power * power
      r1 += j1 * residual
      r2 += power * residual
    }
    const [d11, d22] = [s11 * (1 + damping), s22 * (1 + damping)]
    const determinant = d11 * d22 - s12 * s12
    const [step1, step2] = [(r1 * d22 - r2 * s12) / determinant, (r2 * d11 - r1 * s12) / determinant]
    const next = cost(a1 + step1, a2 + step2)
    if (!(next <= current)) {
      damping *= 10
      continue
    }
    const small = Math.abs(step1) <= 1e-14 * (1 + Math.abs(a1)) && Math.abs(step2) <= 1e-14 * (1 + Math.abs(a2))
    ;[a1, a2, current] = [a1 + step1, a2 + step2, next]
    damping = Math.max(damping / 10, 1e-12)
    if (small) break
  }
  return { a1, a2 }
}

function check(losses: readonly number[], times: readonly number[]): void {
  if (losses.length === 0 || losses.length !== times.length)
    throw new AutoprogError('CONFIG', expected(`one time for each of ${losses.length} losses`, 'the candidates', times))
  const loss = losses.find((value) => !Number.isFinite(value))
  if (loss !== undefined)
    throw new AutoprogError('NUMERIC', expected('a finite number', "a candidate's loss", loss), {
      hint: 'Training has diverged: lower the learning rate.',
    })
  const time = times.find((value) => !(value > 0 && value < Infinity))
  if (time !== undefined)
    throw new AutoprogError('NUMERIC', expected('a positive time', 'a candidate', time), {
      hint: "Let search.time be flops where the machine's clock is too coarse.",
    })
}
