/** Figures as people read them, alike in every report. */

/** 1234567 -> "1,234,567". */
export function integer(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** 1 -> "1 file", 2000 -> "2,000 files". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${integer(count)} ${count === 1 ? one : many}`
}

/** A share in [0, 1] as a percentage with two decimals: 0.8731 -> "87.31 %"; unknown is a dash. */
export function percent(share: number | null): string {
  return share === null ? '–' : `${(100 * share).toFixed(2)} %`
}

/** A ratio such as a speed-up: 1.853 -> "1.85x"; unknown is a dash. */
export function times(ratio: number | null): string {
  return ratio === null ? '–' : `${ratio.toFixed(2)}x`
}

/** The same as the paper's tables print it: 2.327 -> "+132.7 %". */
export function gain(ratio: number | null): string {
  return ratio === null ? '–' : `${ratio < 1 ? '' : '+'}${(100 * (ratio - 1)).toFixed(1)} %`
}

/** Three significant digits and a unit prefix: 22400000 -> "22.4M". For multiply-adds, parameters and bytes. */
export function scaled(value: number): string {
  const prefixes = ['', 'k', 'M', 'G', 'T', 'P']
  let power = 0
  // 999.5 and above would print as "1000" at three digits.
  while (Math.abs(value) >= 999.5 && power < prefixes.length - 1) {
    value /= 1000
    power++
  }
  return `${Number(value.toPrecision(3))}${prefixes[power]}`
}

/** Seconds as a person says them: "0.3 s", "42 s", "3 min 05 s", "2 h 07 min". */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  const two = (value: number) => String(value).padStart(2, '0')
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`
  const minutes = Math.round(seconds / 60)
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`
}

/** A learning rate or loss with few digits: 0.00091234 -> "9.12e-4", 0.6123 -> "0.612". */
export function small(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  return value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(2) : value.toFixed(3)
}
