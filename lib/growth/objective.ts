/** What a search minimises: loss * time^w, with w read off the candidates themselves. */

export interface Objective {
  /** Least squares fit of loss = a2 * time^a1. */
  readonly a1: number
  readonly a2: number
  /** max(-a1, 0): how much time counts. */
  readonly exponent: number
  readonly scores: readonly number[]
  /** Index of the lowest score. */
  readonly best: number
}

/** Scores candidates by their losses and times (seconds, or any unit in proportion). */
export function scoreCandidates(losses: readonly number[], times: readonly number[]): Objective {
  const { a1, a2 } = fitPower(losses, times)
  const exponent = Math.max(-a1, 0)
  const scores = losses.map((loss, index) => loss * times[index]! ** exponent)
  return { a1, a2, exponent, scores, best: scores.indexOf(Math.min(...scores)) }
}

/** Least squares of loss = a2 * time^a1 from a1 = a2 = 1, by Levenberg and Marquardt's method. */
export function fitPower(losses: readonly number[], times: readonly number[]): { a1: number; a2: number } {
  const distinct = new Set(times).size
  if (distinct < 2) return { a1: 0, a2: losses.reduce((sum, loss) => sum + loss, 0) / losses.length }
  let [a1, a2] = [1, 1]
  let damping = 1e-3
  const cost = (p1: number, p2: number) => losses.reduce((sum, loss, i) => sum + (loss - p2 * times[i]! ** p1) ** 2, 0)
  let current = cost(a1, a2)
  for (let iteration = 0; iteration < 500 && damping < 1e12; iteration++) {
    // Normal equations of the residuals' Jacobian (T^a1 a2 ln T, T^a1).
    let [s11, s12, s22, r1, r2] = [0, 0, 0, 0, 0]
    for (const [i, loss] of losses.entries()) {
      const power = times[i]! ** a1
      const [j1, residual] = [a2 * power * Math.log(times[i]!), loss - a2 * power]
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
